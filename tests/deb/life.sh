# The package's whole life on one booted machine. Sourced by run; `inside`, `beside`, `machine` are machine.sh's.

tls=/etc/spine/tls
unit() { inside systemctl show --value --property="$1" "${2:-spine.service}"; }
expect() { # WHAT FOUND WANTED
    [ "$2" = "$3" ] || { inside journalctl --no-pager -u spine.service -n 30 >&2 || true; fail "$1: found \"$2\", wanted \"$3\""; }
}
holds() { # WHAT TEXT PART
    grep -qF -- "$3" <<<"$2" || fail "$1 does not say \"$3\": $(tail -n 8 <<<"$2")"
}
# One request to the suppliers' listener, from beside the machine: the code of the answer.
ping_code() {
    beside curl --silent --output /dev/null --write-out '%{http_code}' --max-time 60 --cacert "$machine$tls/supplier-ca.pem" \
        --cert "$machine/srv/client.pem" --key "$machine/srv/client-key.pem" "https://127.0.0.1:443/messageexchange/_ping"
}
# Requests one after the other until FILE.stop is there; each answer's code is a line of FILE.
traffic_start() {
    : >"$1"
    rm -f "$1.stop"
    # It ends with the test, too, however that ends.
    (while [ ! -e "$1.stop" ] && kill -0 $$ 2>/dev/null; do
        ping_code >>"$1" || true
        echo >>"$1"
    done) &
    traffic=$!
}
traffic_end() { # FILE: number of requests; fails unless every one was answered 200
    touch "$1.stop"
    wait "$traffic"
    local bad
    bad=$(grep -vc '^200$' "$1" || true)
    [ "$bad" = 0 ] || fail "$bad of $(wc -l <"$1") requests were not answered 200: $(sort "$1" | uniq -c | tr '\n' ' ')"
    wc -l <"$1"
}

life() {
    cp "$1" "$machine/srv/spine.deb"
    cp "$2" "$machine/srv/next.deb"
    life_install
    life_first_node
    life_unit
    life_upgrade
    life_backup
    life_reboot
    life_remove
    life_purge
}

life_install() {
    local told
    told=$(inside dpkg --install /srv/spine.deb 2>&1) || fail "it does not install: $told"
    holds "the install" "$told" "spine init"
    holds "the install" "$told" "systemctl enable --now spine.service"
    for one in spine.service spine.socket spine-api.socket spine-ldap.socket spine-backup.timer; do
        expect "$one after the install" "$(unit ActiveState "$one") $(inside systemctl is-enabled "$one" || true)" "inactive disabled"
    done
    expect "the data folder" "$(inside stat -c '%U:%G %a' /var/lib/spine)" "spine:spine 700"
    expect "the folder of certificates" "$(inside stat -c '%U:%G %a' $tls)" "root:spine 2750"
    expect "the user's shell" "$(inside getent passwd spine | cut -d: -f6,7)" "/var/lib/spine:/usr/sbin/nologin"
    inside sh -c 'systemd-analyze verify --man=no /lib/systemd/system/spine*.[st]*' || fail "systemd finds mistakes in the units"
    say "installed; nothing was started"
}

# The commands of docs/install.md, in its order.
life_first_node() {
    bash "$here/page" "$root/docs/install.md" first >"$machine/srv/first.sh"
    inside bash -euo pipefail /srv/first.sh >"$target/first.log" 2>&1 ||
        fail "a command of docs/install.md failed: $(tail -n 5 "$target/first.log")"
    inside spine cert issue --ca $tls/supplier-ca.pem --for client --name test-client --out /srv/client
    expect "the unit" "$(unit ActiveState) $(unit SubState) $(inside systemctl is-enabled spine.service spine.socket | tr '\n' ' ')" \
        "active running enabled enabled "
    expect "the process's user" "$(inside stat -c %U "/proc/$(unit MainPID)")" spine
    expect "what systemd shows" "$(unit StatusText)" ready
    holds "spine status" "$(inside spine status --output json)" '"supplier": "[::]:443"'
    expect "a supplier's request" "$(ping_code)" 200
    inside runuser -u spine -- test -r $tls/peer-key.pem || fail "the daemon cannot read its key"
    inside runuser -u spine -- test ! -w $tls/peer-key.pem || fail "the daemon may write its key"
    say "one node runs, as docs/install.md says"
}

life_unit() {
    local told before
    # A bad file: the reload fails where everybody sees it, and the old one stays in force.
    inside sh -c 'printf "[supplier]\nrat = 1\n" >/etc/spine/conf.d/90-test.toml'
    ! inside systemctl reload spine.service 2>/dev/null || fail "a reload of a bad file succeeded"
    holds "the journal" "$(inside journalctl --no-pager -u spine.service -n 20)" "90-test.toml:2"
    expect "the unit after a bad reload" "$(unit ActiveState)" active
    inside sh -c 'printf "[supplier]\nrate = 1000\n" >/etc/spine/conf.d/90-test.toml'
    inside systemctl reload spine.service || fail "a reload of a good file failed"
    holds "config diff" "$(inside spine config diff --output json)" '"supplier.rate"'
    inside rm /etc/spine/conf.d/90-test.toml

    # A socket for which there is no listener is told; a key handed over by systemd is read.
    inside mkdir -p /etc/systemd/system/spine.service.d
    inside mv /etc/spine/credentials/mesh-shared-key /srv/mesh-shared-key
    inside sh -c 'printf "[Service]\nWatchdogSec=4s\nLoadCredential=mesh-shared-key:/srv/mesh-shared-key\n" \
        >/etc/systemd/system/spine.service.d/test.conf'
    inside systemctl daemon-reload
    inside systemctl --quiet enable spine-api.socket
    # While it restarts, the kernel queues: nobody is refused.
    traffic_start "$target/restart.traffic"
    inside spine node restart || fail "the node does not restart"
    told=$(traffic_end "$target/restart.traffic")
    say "restarted with a credential; none of $told requests failed meanwhile"
    holds "the journal" "$(inside journalctl --no-pager -u spine.service -n 60)" "listen.unserved"
    inside systemctl --quiet disable spine-api.socket

    # A process that hangs is killed and started again.
    before=$(unit MainPID)
    inside sh -c "kill -STOP $before"
    for _ in $(seq 120); do [ "$(unit NRestarts)" = 1 ] && [ "$(unit ActiveState)" = active ] && break; sleep 0.5; done
    expect "restarts by the watchdog" "$(unit NRestarts) $(unit ActiveState)" "1 active"
    [ "$(unit MainPID)" != "$before" ] || fail "it is the same process"
    inside mv /srv/mesh-shared-key /etc/spine/credentials/mesh-shared-key
    inside rm -r /etc/systemd/system/spine.service.d
    inside systemctl daemon-reload

    # A stop takes the socket along, ends cleanly, and stays.
    inside systemctl stop spine.service
    expect "the unit after a stop" "$(unit ActiveState) $(unit Result) $(unit ExecMainStatus) $(unit ActiveState spine.socket)" \
        "inactive success 0 inactive"
    holds "the journal" "$(inside journalctl --no-pager -u spine.service -n 20)" "node.stopped"
    expect "a request to a stopped node" "$(ping_code || true)" 000
    inside systemctl start spine.service
    expect "a request after a start" "$(ping_code)" 200
    say "reload, credential, watchdog and stop do what they should"
}

life_upgrade() {
    local before told
    before=$(unit MainPID)
    traffic_start "$target/upgrade.traffic"
    told=$(inside dpkg --install /srv/next.deb 2>&1) || fail "the upgrade failed: $told"
    holds "the upgrade" "$told" "spine node restart"
    expect "the process after the upgrade" "$(unit MainPID)" "$before"
    holds "spine status" "$(inside spine status)" 'run `spine node restart`'
    inside spine node restart
    [ "$(unit MainPID)" != "$before" ] || fail "the node was not restarted"
    ! inside spine status | grep -qF 'node restart' || fail "status still asks for a restart"
    told=$(traffic_end "$target/upgrade.traffic")
    say "upgraded and restarted under load; none of $told requests failed"

    # What a later release has written is not given to an earlier one.
    inside sh -c 'cp -p /var/lib/spine/needs-release /srv/needs && echo 9.1.0 >/var/lib/spine/needs-release'
    ! told=$(inside dpkg --install /srv/spine.deb 2>&1) || fail "a downgrade below the data was let through"
    holds "the refusal" "$told" "9.1.0"
    inside sh -c 'cat /srv/needs >/var/lib/spine/needs-release'
    expect "the unit after a refused downgrade" "$(unit ActiveState)" active
    inside dpkg --install /srv/spine.deb >/dev/null 2>&1 || fail "a downgrade that the data allow was refused"
    say "a downgrade below the data's release is refused"
}

life_reboot() {
    inside spine party add X27 --name "Kept through everything" >/dev/null
    machine_reboot || fail "the machine did not come back"
    for _ in $(seq 120); do [ "$(unit ActiveState)" = active ] && break; sleep 0.5; done
    expect "the unit after a reboot" "$(unit ActiveState) $(unit StatusText)" "active ready"
    expect "a request after a reboot" "$(ping_code)" 200
    inside spine party show X27 >/dev/null || fail "data are gone after a reboot"
    say "rebooted; it runs and has its data"
}

# The nightly backup, and the site restored from it by root: what it writes must be the daemon's.
life_backup() {
    local told backup
    inside systemctl --quiet enable --now spine-backup.timer
    expect "the timer" "$(unit ActiveState spine-backup.timer) $(unit Persistent spine-backup.timer)" "active yes"
    inside spine backup key --out /srv/backup-key >/dev/null
    inside install -o root -g spine -m 0640 /srv/backup-key.pub /etc/spine/backup-key.pub
    inside sh -c 'printf "[backup]\nkeep = 1\nrecipient = \"/etc/spine/backup-key.pub\"\n" >/etc/spine/conf.d/90-test.toml'
    inside spine node restart || fail "the node does not restart"
    inside spine party add X28 --name "In the backup" >/dev/null
    for _ in 1 2; do
        inside systemctl start spine-backup.service ||
            fail "no backup is made: $(inside journalctl --no-pager -u spine-backup.service -n 5)"
    done
    told=$(inside sh -c 'ls /var/lib/spine-backup')
    expect "backups that are kept" "$(wc -w <<<"$told")" 1
    backup=/var/lib/spine-backup/$told
    expect "their folder" "$(inside stat -c '%U:%G %a' /var/lib/spine-backup)" "spine:spine 700"
    inside spine backup verify "$backup" --ca $tls/peer-ca.pem --scratch /srv --identity /srv/backup-key >/dev/null ||
        fail "the backup is not whole"
    told=$(inside sh -c "! spine backup restore '$backup' --ca $tls/peer-ca.pem 2>&1")
    holds "a restore over a site" "$told" SPN-2204

    inside systemctl stop spine.service
    inside sh -c "mkdir /srv/old && mv /var/lib/spine/* /srv/old/ && mv $tls/peer-*.pem /srv/old/"
    told=$(inside sh -c "! spine backup restore '$backup' --ca /srv/old/peer-ca.pem 2>&1")
    holds "a restore without the key" "$told" SPN-2205
    inside spine backup restore "$backup" --ca /srv/old/peer-ca.pem --identity /srv/backup-key >/dev/null ||
        fail "the site does not come back"
    told=$(inside sh -c "find /var/lib/spine -mindepth 1 \\( ! -user spine -o ! -group spine -o -perm /077 \\)")
    [ -z "$told" ] || fail "what was restored is not the daemon's alone: $told"
    inside systemctl start spine.service || fail "the restored node does not start"
    expect "a request to the restored node" "$(ping_code)" 200
    inside spine party show X28 >/dev/null || fail "what the backup held is gone"
    inside spine audit verify >/dev/null || fail "the trail is not whole over the restore"
    inside systemctl --quiet disable --now spine-backup.timer
    inside rm -r /etc/spine/conf.d/90-test.toml /etc/spine/backup-key.pub /srv/old
    inside spine node restart || fail "the node does not restart"
    say "backed up at the timer's word, and restored by root: the daemon has its data"
}

life_remove() {
    local told
    told=$(inside dpkg --remove spine 2>&1) || fail "it is not removed: $told"
    expect "after the removal" "$(unit ActiveState) $(unit ActiveState spine.socket)" "inactive inactive"
    [ -z "$(inside sh -c 'grep -ls "^spine" /proc/[0-9]*/comm' || true)" ] || fail "a process is left"
    [ -s "$machine/var/lib/spine/identity.json" ] && [ -s "$machine/etc/spine/spine.toml" ] || fail "removal took data or settings"
    inside dpkg --install /srv/next.deb >/dev/null 2>&1 || fail "it does not install over kept data"
    expect "the unit after the second install" "$(unit ActiveState)" inactive
    inside systemctl start spine.service || fail "it does not start over kept data"
    inside spine party show X27 >/dev/null || fail "kept data cannot be read"
    say "removed and installed again over its data"
}

life_purge() {
    local told
    told=$(inside dpkg --purge spine 2>&1) || fail "it is not purged: $told"
    holds "the purge" "$told" "were kept"
    expect "after the purge" "$(unit ActiveState) $(inside ls /etc/spine | tr '\n' ' ')" "inactive conf.d credentials tls "
    [ -s "$machine/var/lib/spine/identity.json" ] || fail "a purge took patients' data"
    [ -s "$machine$tls/peer-key.pem" ] && [ -n "$(inside ls /etc/spine/conf.d)" ] || fail "a purge took keys or drop-ins"
    [ -z "$(inside sh -c 'find /etc/systemd -name "spine*"')" ] || fail "links of the unit are left"
    inside dpkg --install /srv/spine.deb >/dev/null 2>&1
    inside touch /etc/spine/purge-data
    told=$(inside dpkg --purge spine 2>&1) || fail "it is not purged: $told"
    holds "the purge that was told" "$told" "were deleted"
    [ ! -e "$machine/var/lib/spine" ] || fail "data are left although /etc/spine/purge-data was there"
    inside id spine >/dev/null || fail "the user went away"
    say "purged: data kept, and deleted where that was asked for"
}
