# What a site lives through, by playbook. Sourced by site.

life() {
    life_upgrade
    life_certificates
    life_backup
    life_replace
}

life_upgrade() {
    # Nothing is upgraded while a node is missing.
    machine_use 3
    inside systemctl stop spine.service 2>/dev/null
    refused upgrade-degraded "not well, and is left as it is: node 3 does not answer" upgrade.yml -e "spine_package_file=$next" -e spine_wait_seconds=6
    inside systemctl start spine.service
    ran upgrade-check upgrade.yml --check -e "spine_package_file=$next"
    told "--check of an upgrade" "would install spine"
    # Where something else has installed it already, the node is restarted and no more.
    machine_use 1
    cp "$next" "$machine/srv/next.deb"
    inside dpkg --install /srv/next.deb >/dev/null 2>&1
    sender_start
    ran upgrade upgrade.yml -e "spine_package_file=$next"
    sender_end
    say "upgrade.yml under load: $sent; $(all_changed) changes ($took s)"
    expect "changes of a node whose package was there" "$(changed node1)" 2
    for n in 1 2 3; do
        machine_use $n
        expect "the program that node $n runs" "$(inside spine status --output json | grep -c '"program_replaced": false')" 1
        expect "the package on node $n" "$(inside dpkg-query --show --showformat '${Version}' spine)" "$(basename "$next" | cut -d_ -f2)"
    done
    ran upgrade-again upgrade.yml -e "spine_package_file=$next"
    expect "changes of a second upgrade" "$(all_changed)" "0 0 0"
    package=$next
    inventory
    refused downgrade "is earlier than" upgrade.yml -e "spine_package_file=$deb"
    say "a second upgrade changes nothing, and an earlier release is refused ($took s)"
}

life_certificates() {
    local old n
    # A key of another certificate: refused by the node, and the old files are back.
    cp -r "$files/node1" "$target/node1.kept"
    "$spine" cert issue --ca "$target/ca.pem" --for server --name other --out "$target/other" >/dev/null 2>&1
    cp "$target/other-key.pem" "$files/node1/supplier-key.pem"
    ! playbook rotate-bad rotate-certs.yml || fail "a key that does not fit was taken"
    told "a key that does not fit" "has its old ones again"
    machine_use 1
    cmp -s "$machine/etc/spine/tls/supplier-key.pem" "$target/node1.kept/supplier-key.pem" || fail "the old key is not back"
    [ -z "$(inside find /etc/spine/tls -name '*~')" ] || fail "copies of keys are left"
    rm -rf "$target/node1.kept" "$target"/other*
    say "certificates that cannot be used are taken away again ($took s)"

    old=$(shown 1)
    for n in 1 2 3; do certificate node$n 10.77.0.$n; done
    python3 "$here/held" "$target" >"$target/held.log" 2>&1 &
    held=$!
    running+=("$held")
    ran rotate rotate-certs.yml
    touch "$target/held.stop"
    wait "$held" || fail "a connection was dropped: $(tail -n 5 "$target/held.log")"
    [ "$(shown 1)" != "$old" ] || fail "node 1 still shows its old certificate"
    for n in 1 2 3; do
        expect "what node $n shows" "$(shown $n)" "$(openssl x509 -noout -fingerprint -in "$files/node$n/supplier-cert.pem")"
    done
    say "rotate-certs.yml: $(tail -n 1 "$target/held.log"); $(all_changed) changes ($took s)"
    ran rotate-again rotate-certs.yml
    expect "changes of a second rotation" "$(all_changed)" "0 0 0"
}
# The fingerprint of the certificate that a node shows. It refuses whoever shows none himself, and whether s_client has heard
# of that when it ends is chance: what counts is the certificate.
shown() { { openssl s_client -connect "10.77.0.$1:443" </dev/null 2>/dev/null || true; } | openssl x509 -noout -fingerprint; }

life_backup() {
    local round
    rm -rf "$target/copies"
    ran backup-check backup.yml --check
    [ -z "$(ls -A "${machines[3]}/srv/backup")" ] || fail "--check made a backup"
    for round in 1 2 3; do ran "backup-$round" "${page[2]}" -e spine_backup_keep=2 -e spine_backup_fetch_keep=1; done
    expect "backups on the node" "$(ls "${machines[3]}/srv/backup" | wc -l)" 2
    expect "copies" "$(ls "$target/copies" | wc -l)" 1
    cp "${machines[1]}/etc/spine/tls/peer-ca.pem" "$target/peer-ca.pem"
    "$spine" backup verify "$target"/copies/* --ca "$target/peer-ca.pem" >"$target/verify.log" 2>&1 || fail "the copy is not whole: $(cat "$target/verify.log")"
    say "backup.yml: three made, two kept, one copy kept and verified where Ansible runs: $(sed -n 2p "$target/verify.log") (the last run $took s)"
}

life_replace() {
    machine_use 3
    machine_stop
    unset 'machines[3]'
    # The key of the site's authority is kept where Ansible runs.
    mv "${machines[1]}/etc/spine/tls/peer-ca-key.pem" "$files/peer-ca-key.pem"
    machine_start "$target" 4 || fail "machine 4 does not boot, see $target/4.log"
    # This one has the package from a repository.
    mkdir -p "$machine/srv/repo"
    cp "$deb" "$next" "$machine/srv/repo/"
    (cd "$machine/srv/repo" && dpkg-scanpackages --multiversion . >Packages 2>/dev/null)
    echo 'deb [trusted=yes] file:/srv/repo ./' >"$machine/etc/apt/sources.list"
    from=(-e spine_package_file= -e "spine_package_version=$(basename "$next" | cut -d_ -f2)")
    certificate node3 10.77.0.4
    third=10.77.0.4 more+="
    spine_peer_ca_key_file: $files/peer-ca-key.pem"
    inventory
    refused replace-nobody "say which host" replace-node.yml
    ! playbook replace-by-site site.yml --limit node3 "${from[@]}" || fail "site.yml took a number that is taken"
    told "site.yml with a new machine" "replace-node.yml -e spine_replace=node3"
    ran replace-check replace-node.yml -e spine_replace=node3 --check "${from[@]}"
    told "--check of a replacement" "in the place of the one that is lost"
    ran replace replace-node.yml -e spine_replace=node3 "${from[@]}"
    expect "changes of others" "$(changed node1) $(changed node2)" "0 0"
    machine_use 1
    [ ! -e "$machine/etc/spine/tls/peer-ca-key.pem" ] || fail "the authority's key was left on the machine"
    expect "where node 3 is" "$(inside spine cluster status --output json | python3 -c 'import json, sys
print(*[(m["address"], m["incarnation"], m["voter"], m["ready"]) for m in json.load(sys.stdin)["members"] if m["number"] == 3])')" \
        "('10.77.0.4:8441', 2, True, True)"
    say "replace-node.yml: a new machine is node 3; $(changed node3) changes ($took s)"
    ran replace-again replace-node.yml -e spine_replace=node3
    expect "changes of a second replacement" "$(all_changed)" "0 0 0"
    ran after-replace site.yml
    say "site.yml tells the others where node 3 is: $(all_changed) changes ($took s)"
    ran after-replace-again site.yml
    expect "changes after that" "$(all_changed)" "0 0 0"
    sender_start 10.77.0.1 10.77.0.2 10.77.0.4
    sleep 3
    sender_end
    say "through the site as it is now: $sent"
}
