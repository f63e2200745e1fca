//! Metrics, health, log output, systemd, the admin socket.
