# Debians booted under systemd-nspawn, in a network of their own. Sourced. One machine is the one spoken to: `machine_use`.

declare -A machines nspawns
# Nothing but loopback, unless the test makes a network.
machine_network=(--private-network)
# Written into the machine before it boots, if a test says so: machine_prepare NAME.
machine_prepare() { :; }

# A bridge in this network namespace, at 10.77.0.100; machine N is at 10.77.0.N.
machines_network() {
    ip link set lo up
    ip link add spine0 type bridge
    ip address add 10.77.0.100/24 dev spine0
    ip link set spine0 up
    machine_network=(--network-bridge=spine0)
    machine_prepare() { machine_address "$1"; }
}
machine_address() {
    printf '[Match]\nName=host0\n[Network]\nAddress=10.77.0.%s/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' "$1" \
        >"$machine/etc/systemd/network/10-site.network"
    mkdir -p "$machine/etc/systemd/system/multi-user.target.wants"
    ln -sf /lib/systemd/system/systemd-networkd.service "$machine/etc/systemd/system/multi-user.target.wants/"
}

# Boots a copy of TARGET/debian as NAME. What it says goes to TARGET/NAME.log.
machine_start() {
    machine=$1/$2.root
    rm -rf "$machine"
    cp -a --reflink=auto "$1/debian" "$machine"
    # Nothing is told apart by name here, and a machine id of its own is what a first boot makes.
    rm -f "$machine/etc/machine-id" "$machine/etc/hostname"
    # There is no network to wait for.
    ln -s /dev/null "$machine/etc/systemd/system/systemd-networkd-wait-online.service"
    machine_prepare "$2"
    machine_log=$1/$2.log
    machines[$2]=$machine
    machine_name=$2
    : >"$machine_log"
    machine_boot
}

# From now on this machine is meant.
machine_use() {
    machine_name=$1 machine=${machines[$1]} nspawn=${nspawns[$1]}
    leader=$(machine_init)
}

machine_boot() {
    setsid systemd-nspawn --quiet --directory="$machine" --machine="spine-$machine_name-$$" --register=no --keep-unit \
        "${machine_network[@]}" --boot >>"$machine_log" 2>&1 </dev/null &
    nspawn=$!
    nspawns[$machine_name]=$nspawn
    machine_wait
}

# A machine that reboots ends here, as it was not started by a unit; it is booted again with the disk that it left.
machine_reboot() {
    inside systemctl reboot || true
    for _ in $(seq 240); do
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.5
    done
    wait "$nspawn" 2>/dev/null || true
    machine_boot
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
        env -i --chdir=/srv PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv LANG=C.UTF-8 TERM=dumb "$@"
}

# Runs one of this machine's commands in its network.
beside() { nsenter --target "$leader" --net -- "$@"; }

machines_stop() {
    local name
    for name in "${!machines[@]}"; do
        machine_use "$name"
        machine_stop
    done
}

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
