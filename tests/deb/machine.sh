# A Debian booted under systemd-nspawn, in a network of its own with nothing but loopback. Sourced.

# Boots a copy of TARGET/debian as NAME. What it says goes to TARGET/NAME.log.
machine_start() {
    machine=$1/$2.root
    rm -rf "$machine"
    cp -a --reflink=auto "$1/debian" "$machine"
    # Nothing is told apart by name here, and a machine id of its own is what a first boot makes.
    rm -f "$machine/etc/machine-id" "$machine/etc/hostname"
    setsid systemd-nspawn --quiet --directory="$machine" --machine="spine-$2-$$" --register=no --keep-unit --private-network \
        --boot >"$1/$2.log" 2>&1 </dev/null &
    nspawn=$!
    machine_wait
}

# Its init, as this machine numbers it.
machine_init() { pgrep -P "$nspawn" | head -n 1 || true; }

# Until it is up, at most two minutes.
machine_wait() {
    local word
    for _ in $(seq 240); do
        kill -0 "$nspawn" 2>/dev/null || return 1
        leader=$(machine_init)
        word=$([ -z "$leader" ] || inside systemctl is-system-running 2>/dev/null || true)
        case "$word" in running | degraded) return 0 ;; esac
        sleep 0.5
    done
    return 1
}

# Runs a command in it, as root.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid -- \
        env -i --chdir=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "$@"
}

# Runs one of this machine's commands in its network.
beside() { nsenter --target "$leader" --net -- "$@"; }

machine_stop() {
    local init
    init=$(machine_init)
    # SIGRTMIN+4: power off. A machine that does not listen is killed.
    [ -z "$init" ] || kill -s RTMIN+4 "$init" 2>/dev/null || true
    for _ in $(seq 60); do
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.5
    done
    kill -KILL "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
    rm -rf "$machine"
}
