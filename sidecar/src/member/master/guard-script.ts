/** Bytes of a message to the watchdog: short ones are filled up with blanks, so that one read takes exactly one. */
export const guardMessageBytes = 24;

/**
 * The watchdog between the sidecar and the master's process group (docs/decisions/0007), for any POSIX sh on Linux with timeout(1) and dd(1) (coreutils, busybox).
 * $1: the process group. Messages on stdin: `until N`: the group may live until /proc/uptime reads N hundredths of a second; `forever`: as long as stdin is open;
 * `end`: the group is gone, leave. End of file without `end` means that the sidecar is dead. Absolute times, so that a message which was long under way grants
 * nothing. One thread, no traps, no timers that would have to be taken back: whatever goes wrong in it ends in the kill.
 */
export const guardScript = `
pgid=$1
for tool in timeout dd; do command -v $tool > /dev/null || { echo "there is no $tool"; exit 1; }; done
fine=1
timeout 0.5 true 2> /dev/null || fine=0
deadline=
echo ready
while :; do
  if [ -z "$deadline" ]; then
    message=$(dd bs=${guardMessageBytes} count=1 2> /dev/null)
  else
    read -r up rest < /proc/uptime
    left=$(( deadline - \${up%.*} * 100 - 1\${up#*.} + 100 ))
    [ "$left" -gt 0 ] || break
    seconds=$((left / 100))
    if [ $fine = 1 ]; then seconds=$seconds.$(printf %02d $((left % 100))); else [ "$seconds" -gt 0 ] || break; fi
    message=$(timeout "$seconds" dd bs=${guardMessageBytes} count=1 2> /dev/null)
  fi
  case $message in
    "until "*) deadline=\${message#until }; deadline=\${deadline%% *} ;;
    forever*) deadline= ;;
    end*) exit 0 ;;
    *) break ;;
  esac
done
kill -s KILL -- "-$pgid" 2> /dev/null
exit 0
`;

/** Becomes the master only when told to: until the watchdog stands, nothing of the user's runs. */
export const launchScript = `read -r go <&3 || exit 0; exec 3<&-; exec "$@"`;
