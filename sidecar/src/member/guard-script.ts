/**
 * The watchdog between the sidecar and the master's process group (docs/decisions/0007), for any POSIX sh on Linux. $1: the process group. Lines on stdin:
 * `until N`: the group may live until /proc/uptime reads N hundredths of a second; `forever`: as long as stdin is open; `end`: the group is gone, leave.
 * End of file without `end` means that the sidecar is dead. Absolute times, so that a line which was long under way grants nothing.
 * Every process it starts is in its own group, which it clears away when it leaves.
 */
export const guardScript = `
pgid=$1
timer=
fine=1
sleep 0.01 2>/dev/null || fine=0
fire() { kill -s KILL -- "-$pgid" 2>/dev/null; }
disarm() {
  [ -n "$1" ] || return 0
  kill -s TERM "$1" 2>/dev/null
  wait "$1" 2>/dev/null
  return 0
}
arm() {
  (
    nap=
    trap '[ -n "$nap" ] && kill "$nap" 2>/dev/null; exit 0' TERM
    read -r up rest < /proc/uptime
    left=$(( $1 - \${up%.*} * 100 - 1\${up#*.} + 100 ))
    if [ "$left" -gt 0 ]; then
      seconds=$((left / 100))
      [ $fine = 1 ] && seconds=$seconds.$(printf %02d $((left % 100)))
      sleep "$seconds" &
      nap=$!
      wait "$nap"
    fi
    fire
  ) &
  timer=$!
}
leave() {
  trap '' TERM
  kill -s TERM 0
  exit 0
}
echo ready
while read -r verb value; do
  old=$timer
  case $verb in
    until) arm "$value"; disarm "$old" ;;
    forever) timer=; disarm "$old" ;;
    end) leave ;;
  esac
done
fire
leave
`;

/** Becomes the master only when told to: until the watchdog stands, nothing of the user's runs. */
export const launchScript = `read -r go <&3 || exit 0; exec 3<&-; exec "$@"`;
