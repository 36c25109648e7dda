#!/bin/sh
# Makes this Linux machine trust https addresses that end in {{ZONE}}, and no others.
# {{SUBJECT}}
# SHA-256 {{SHA256}}
set -eu

if [ "$(id -u)" -ne 0 ]; then
    echo "The system's certificate store is root's. Type: sudo sh $0" >&2
    exit 1
fi

if command -v update-ca-certificates >/dev/null; then
    # Debian, Ubuntu, Alpine, openSUSE
    file=/usr/local/share/ca-certificates/ztgate-{{ZONE}}.crt
    [ -d /etc/pki/trust/anchors ] && file=/etc/pki/trust/anchors/ztgate-{{ZONE}}.pem
    update=update-ca-certificates
elif command -v update-ca-trust >/dev/null; then
    # Fedora, RHEL; Arch has both folders and reads this one
    file=/etc/pki/ca-trust/source/anchors/ztgate-{{ZONE}}.pem
    [ -d /etc/ca-certificates/trust-source/anchors ] && file=/etc/ca-certificates/trust-source/anchors/ztgate-{{ZONE}}.crt
    update=update-ca-trust
else
    echo "No update-ca-certificates and no update-ca-trust here. Install the package ca-certificates, then run this again." >&2
    exit 1
fi

mkdir -p "${file%/*}"
cat > "$file" <<'PEM'
{{ROOT_PEM}}
PEM
chmod 644 "$file"
"$update"

echo "Done: $file"
echo "curl and most programs trust it now. Firefox: Settings, Certificates, View Certificates, Authorities, Import."
echo "Chromium: chrome://certificate-manager, Local certificates, Custom, Trusted Certificates, Import."
