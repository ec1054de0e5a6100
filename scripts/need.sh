#!/bin/sh
# Makes sure that programs are there: scripts/need.sh nginx:nginx-light wrk:wrk
# What is missing is installed from Debian's packages where we are root or sudo asks for no password. Otherwise one line
# says what to install, exit 2. A service that comes with a package is not started, and none that runs is touched.
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
    echo "$programs: not found${1:+ ($1)}; install what is missing (Debian: apt-get install$packages)" >&2
    exit 2
}

command -v apt-get >/dev/null 2>&1 || give_up ''
if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    give_up 'and we are not root'
fi

# apt starts services as it installs them, unless this program forbids it (invoke-rc.d(8)): 101 is no.
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
