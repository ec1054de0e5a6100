#!/bin/sh
# Ensure that programs are installed: scripts/need.sh nginx:nginx-light wrk:wrk
# Missing programs are installed from Debian packages if this runs as root or sudo needs no password. Otherwise one line
# lists what to install, and the exit status is 2. Services of the packages are not started, and running ones not changed.
set -eu

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
POLICY=/usr/sbin/policy-rc.d

programs='' packages=''
for wanted in "$@"; do
    if ! command -v "${wanted%%:*}" >/dev/null 2>&1; then
        programs="${programs:+$programs, }${wanted%%:*}"
        packages="$packages ${wanted#*:}"
    fi
done
[ -n "$packages" ] || exit 0

give_up() {
    echo "$programs: not found${1:+ ($1)}; install the missing packages (Debian: apt-get install$packages)" >&2
    exit 2
}

command -v apt-get >/dev/null 2>&1 || give_up ''
if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    give_up 'and this does not run as root'
fi

# apt starts services after installing them, unless this program exits with 101 (invoke-rc.d(8)).
if [ -e "$POLICY" ]; then
    code=0
    "$POLICY" nginx start >/dev/null 2>&1 || code=$?
    [ "$code" -eq 101 ] || give_up "and $POLICY lets apt start services"
else
    trap '$as_root rm -f "$POLICY"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$POLICY" >/dev/null
    $as_root chmod 755 "$POLICY"
fi

apt_install() {
    # shellcheck disable=SC2086 - one word per package
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1
}

echo "installing$packages" >&2
apt_install || { $as_root apt-get update -qq >/dev/null 2>&1 && apt_install; } || give_up 'and apt-get could not install it'
