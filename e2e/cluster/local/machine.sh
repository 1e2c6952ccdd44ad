#!/bin/bash
# machine.sh VERB ARGS: what a local cluster does to this machine: namespaces, links, cgroups, processes.
# A cluster has a slot (SLOT=0..15), which names all that it has: bridge mm<slot>, addresses 10.<180+slot>.*.*, network namespaces and cgroups
# mm<slot>-node<i>. STATE is its folder, KUBE the program `kube`. In /run/metamaster-cluster: <slot>.lock is held as long as the slot is
# taken, <slot>.state names the folder of what is (or, when nobody holds the lock, was) there.
set -eu
here=$(readlink -f "${BASH_SOURCE[0]}")
run=/run/metamaster-cluster
export PATH=$PATH:/usr/sbin:/sbin

names() { # for the slot
  case $SLOT in '' | *[!0-9]*) echo "SLOT=$SLOT is no slot" >&2; exit 2 ;; esac
  case $STATE in /*/metamaster-cluster-*) ;; *) echo "STATE=$STATE is no cluster's folder" >&2; exit 2 ;; esac
  net=10.$((180 + SLOT)) host=10.$((180 + SLOT)).0.1 bridge=mm$SLOT prefix=mm$SLOT-node
}
node_ip() { echo "$net.0.$((10 + $1))"; }
node_pods() { echo "$net.$((64 + $1)).0/24"; }

# --- a slot ----------------------------------------------------------------

# guard: takes the slot, says "ready" or why not, and when its input ends (it was asked to, or whoever started it is dead, even by SIGKILL)
# takes everything down.
guard() {
  mkdir -p "$run"
  exec 8>"$run/$SLOT.lock"
  flock -n 8 || { echo "taken by another run"; exit 0; }
  sweep_one "$SLOT"
  # Not the default route: what we add is more specific.
  clash=$({ ip -4 route show table all root "$net.0.0/16"; ip -4 route show match "$net.0.0/16" | grep -v ^default; } | head -3 | tr '\n' ';')
  [ -z "$clash" ] || { echo "the machine has routes in $net.0.0/16: $clash"; exit 0; }
  echo "$STATE" >"$run/$SLOT.new"
  mv "$run/$SLOT.new" "$run/$SLOT.state"
  trap '' PIPE INT TERM HUP
  echo ready
  while read -r _; do :; done
  down >"$run/$SLOT.log" 2>&1
}

# sweep: takes down what runs left behind that were killed together with their guard.
sweep() {
  local f slot
  for f in "$run"/*.state; do
    [ -e "$f" ] || continue
    slot=$(basename "$f" .state)
    flock -n -E 75 "$run/$slot.lock" "$here" sweep_one "$slot" || [ $? = 75 ] # in use
  done
}
sweep_one() {
  [ -e "$run/$1.state" ] || return 0
  SLOT=$1 STATE=$(cat "$run/$1.state") "$here" down
}

# What fails does not keep the rest from going; the record then stays, and the next start tries again.
down() {
  local f ns c failed=0
  for f in "$STATE"/pids/node*; do
    [ ! -e "$f" ] || thaw "${f##*node}" || true
  done
  for f in "$STATE"/pids/*; do
    [ ! -e "$f" ] || stop "$(basename "$f")" || failed=1
  done
  for ns in $(ip netns list | grep -o "^$prefix[0-9]*"); do
    ip link del "$bridge-n${ns#"$prefix"}" 2>/dev/null || true
    ip netns del "$ns" || failed=1
  done
  ip link del "$bridge" 2>/dev/null || true # takes the routes through it along
  ip route del unreachable "$net.0.0/16" 2>/dev/null || true
  for c in /sys/fs/cgroup/*/"$prefix"*; do
    [ ! -d "$c" ] || find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  untune || failed=1
  rm -rf --one-file-system "$STATE" || failed=1
  [ $failed = 0 ] && rm -f "$run/$SLOT.state"
}

# Kubelets set some of these, and 128 inotify instances are too few for several nodes. The last cluster puts them back.
tune() {
  exec 7>"$run/sysctl.lock"
  flock -w 30 7
  if [ ! -e "$run/sysctl.conf" ]; then
    sysctl fs.inotify.max_user_instances kernel.panic kernel.panic_on_oops vm.overcommit_memory vm.panic_on_oom >"$run/sysctl.new"
    mv "$run/sysctl.new" "$run/sysctl.conf"
  fi
  [ "$(sysctl -n fs.inotify.max_user_instances)" -ge 8192 ] || sysctl -qw fs.inotify.max_user_instances=8192
  exec 7>&-
}
untune() {
  exec 7>"$run/sysctl.lock"
  flock -w 30 7
  if [ -e "$run/sysctl.conf" ] && [ -z "$(find "$run" -name '*.state' ! -name "$SLOT.state")" ]; then
    sysctl -qp "$run/sysctl.conf"
    rm "$run/sysctl.conf"
  fi
  exec 7>&-
}

# --- network and cgroups -----------------------------------------------------

# network NODES: what the nodes can't deliver ends here; no route leads out of the machine.
network() {
  local i j ns c f
  tune
  ip link add "$bridge" type bridge
  ip addr add "$host/24" dev "$bridge"
  ip link set "$bridge" up
  ip route add unreachable "$net.0.0/16"
  for i in $(seq "$1"); do
    ns=$prefix$i
    ip netns add "$ns"
    ip link add "$bridge-n$i" type veth peer name eth0 netns "$ns"
    ip link set "$bridge-n$i" master "$bridge" up
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "$(node_ip "$i")/24" dev eth0
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add "$net.128.0/17" via "$host" # kube-proxy takes these before they leave
    ip route add "$(node_pods "$i")" via "$(node_ip "$i")"
    for j in $(seq "$1"); do
      [ "$j" = "$i" ] || ip -n "$ns" route add "$(node_pods "$j")" via "$(node_ip "$j")"
    done
    for c in /sys/fs/cgroup/*/; do # kubelet wants its root in every hierarchy
      [ "$c" != /sys/fs/cgroup/unified/ ] || continue
      mkdir -p "$c$ns"
      [ ! -e "$c/cpuset.cpus" ] || for f in cpuset.cpus cpuset.mems; do cat "$c/$f" >"$c$ns/$f"; done
    done
  done
}

unplug() { ip link set "$bridge-n$1" down; }
# unplug_from NODE api-server|host: for the node and its pods; host: what the test process serves to them, DNS (port 53) excepted.
unplug_from() {
  local table=api_server there="ip daddr $host tcp dport 6443 drop" back="ip saddr $host tcp sport 6443 drop"
  if [ "$2" = host ]; then
    # Only connections that begin here: those that the API server or a test makes to the node go on.
    table=host
    there="ip daddr $host tcp dport != { 53, 6443 } ct direction original drop"
    back="ip saddr $host tcp sport != { 53, 6443 } ct direction reply drop"
  fi
  ip netns exec "$prefix$1" nft -f - <<END
table inet metamaster_cut_$table {
  chain out { type filter hook output priority -10; $there; }
  chain in { type filter hook input priority -10; $back; }
  chain through { type filter hook forward priority -10; $there; $back; }
}
END
}
plug() {
  local table
  ip link set "$bridge-n$1" up
  for table in api_server host; do ip netns exec "$prefix$1" nft delete table inet metamaster_cut_$table 2>/dev/null || true; done
}
# freezer NODE FROZEN|THAWED: all processes of a node, daemons and pods.
freezer() { echo "$2" >"/sys/fs/cgroup/freezer/$prefix$1/freezer.state"; }

# pod_freezer NODE UID FROZEN|THAWED
pod_freezer() {
  local group
  group=$(find "/sys/fs/cgroup/freezer/$prefix$1" -type d -name "pod$2")
  [ -n "$group" ] || { echo "node$1 runs no pod with the uid $2" >&2; return 1; }
  echo "$3" >"$group/freezer.state"
}
# thaw NODE: and all its pods. What is frozen can't die.
thaw() { find "/sys/fs/cgroup/freezer/$prefix$1" -name freezer.state -exec sh -c 'echo THAWED >"$1"' thaw {} \;; }

# --- processes: known by pid and start time, never by name --------------------

# start NAME COMMAND...: recorded before it becomes the command, so that none is ever unknown.
start() {
  local file=$STATE/pids/$1
  shift
  echo "$$ $(started $$)" >"$file.new"
  mv "$file.new" "$file"
  exec "$@"
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; } # a zombie may wait long for its reaper

# pid NAME: nothing when it is gone, or its number another's.
pid() {
  local p s
  [ -e "$STATE/pids/$1" ] && read -r p s <"$STATE/pids/$1" || return 1
  [ -n "$p" ] && [ "$(started "$p")" = "$s" ] && ! gone "$p" && echo "$p"
}

# stop NAME: SIGKILL, and until it is dead. A node's first process dies with its parent, and ends after all others in there.
stop() {
  local p all end
  p=$(pid "$1") || { rm -f "$STATE/pids/$1"; return 0; }
  all="$p $(pgrep -P "$p" || true)"
  kill -KILL "$p"
  end=$((SECONDS + 30))
  for p in $all; do
    until gone "$p"; do
      [ $SECONDS -lt $end ] || { echo "$1 (pid $p) does not die by SIGKILL" >&2; return 1; }
      sleep 0.02
    done
  done
  rm -f "$STATE/pids/$1"
}

# --- a node ------------------------------------------------------------------

# boot NODE: becomes the process that holds the node; also after a crash, with the disk it had.
boot() {
  # After a crash kubelet would wait 3 s for each dead container whose cgroup is there.
  find /sys/fs/cgroup/*/"$prefix$1" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null || true
  start "node$1" nsenter --net="/run/netns/$prefix$1" \
    unshare --mount --pid --fork --kill-child --uts --ipc --propagation private "$here" init "$1"
}
# on NODE COMMAND...: inside a node's namespaces.
on() {
  local p i=$1
  shift
  p=$(pid "node$i") && p=$(pgrep -P "$p" | head -1) || { echo "node$i is not running" >&2; return 1; }
  exec nsenter -t "$p" -m -p -n -u -i "$@"
}
# kubelet_signal NODE STOP|CONT: the kubelet alone; containers and network go on.
kubelet_signal() { pkill -"$2" -f "kubelet --config=$STATE/node$1/kubelet.json"; }
# load NODE TAR
load() { on "$1" ctr -n k8s.io images import "$2"; }

# init NODE: the node's first process: containerd, kubelet and kube-proxy at their usual paths, on a disk of its own.
init() {
  local i=$1 d dir=$STATE/node$1
  echo 0 >"/sys/fs/cgroup/freezer/$prefix$i/tasks" # so that freezing stops the whole node
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /run
  for d in lib/containerd lib/kubelet lib/cni log; do
    mkdir -p "/var/$d" "$dir/$d"
    mount --bind "$dir/$d" "/var/$d"
    mount --make-private "/var/$d" # else what is mounted below shows up twice
  done
  mount --make-rshared /
  hostname "node$i"
  service containerd containerd --config "$dir/containerd.toml"
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  [ -e "$dir/booted" ] || ctr -n k8s.io images import "$STATE/pause.tar"
  touch "$dir/booted"
  service kubelet "$KUBE" kubelet --config="$dir/kubelet.json" --kubeconfig="$STATE/node$i.conf" \
    --hostname-override="node$i" --node-ip="$(node_ip "$i")"
  service kube-proxy "$KUBE" kube-proxy --config="$dir/proxy.json" --hostname-override="node$i"
  wait
}
# A process that ends is started again, as a service manager would.
service() {
  local n=$1
  shift
  while :; do "$@" >>"$dir/log/$n.log" 2>&1 || true; sleep 1; done &
}

[ "$1" = sweep ] || [ "$1" = sweep_one ] || names
"$@"
