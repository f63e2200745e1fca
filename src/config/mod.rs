//! What the configuration file says, and what the program uses.
