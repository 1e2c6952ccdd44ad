# Process 1 of a container: passes signals on to "$@", reaps whatever is orphaned, and ends as "$@" does. Node can't be that: it only
# waits for children that it started itself (docs/decisions/0010-process-1.md). For any POSIX sh.
child=
early=
interrupted=1
code=
forward() {
  interrupted=1
  if [ -z "$child" ]; then early=$1; else kill -s "$1" "$child" 2> /dev/null; fi
}
trap 'forward TERM' TERM
trap 'forward HUP' HUP
# A terminal's Ctrl-C reaches both of us: passed on it would count as two.
if [ -t 0 ]; then trap 'interrupted=1' INT; else trap 'forward INT' INT; fi

# Background jobs get /dev/null as standard input unless told otherwise.
exec 3<&0
"$@" <&3 3<&- &
child=$!
exec 3<&-
[ -z "$early" ] || kill -s "$early" "$child" 2> /dev/null

# `wait` ends early at a trapped signal, and says 127 once the child's end was told.
while [ $interrupted = 1 ]; do
  interrupted=0
  wait "$child"
  latest=$?
  if [ $latest != 127 ] || [ -z "$code" ]; then code=$latest; fi
done
exit "$code"
