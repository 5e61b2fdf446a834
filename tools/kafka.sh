#!/usr/bin/env bash
# A real Apache Kafka on this machine's loopback, from jars, without containers: one node or three (KRaft).
#
#   tools/kafka.sh start [NODES]      starts 1 (the default) or 3 nodes, prints the bootstrap servers
#   tools/kafka.sh stop               stops all nodes; their data stays
#   tools/kafka.sh kill9 NODE         SIGKILL to one node
#   tools/kafka.sh restart NODE       starts a node again on its data
#   tools/kafka.sh status             the nodes, their processes and memory
#   tools/kafka.sh topics [ARG...]    lists topics, or runs kafka-topics: --create --topic orders --partitions 4
#   tools/kafka.sh run CLASS ARG...   another of Kafka's tools: org.apache.kafka.tools.ConsoleConsumer --topic ...
#   tools/kafka.sh brokers            prints the bootstrap servers
#   tools/kafka.sh wipe               stops all nodes and removes their data
#
# KAFKA_DATA    where data, logs and process ids are (default: .sandbar/kafka-data in the checkout)
# KAFKA_PORT    port of node 1, the others follow (default: 9092, and the next free ones from there)
# KAFKA_HEAP    Java heap of one node (default: 512m)
# SANDBAR_KAFKA_VERSION   another version of Kafka than the one in tools/kafka/pom.xml: 3.9.2
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SANDBAR_CACHE:-${tools%/*}/.sandbar}
libs=$cache/kafka${SANDBAR_KAFKA_VERSION:+-$SANDBAR_KAFKA_VERSION}/libs
data=${KAFKA_DATA:-${tools%/*}/.sandbar/kafka-data}
heap=${KAFKA_HEAP:-512m}

die() {
    printf 'kafka: %s\n' "$@" >&2
    exit 1
}

# java CLASS ARG...: replaces this process, so that its id is the JVM's.
exec_java() { exec java -Dlog4j2.configurationFile="$tools/kafka/log4j2.properties" -cp "$libs/*" "$@"; }
run_tool() { (exec_java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "$@"); }

# `nodes` has one line for each node: id, port, controller port.
nodes() { [[ ! -f $data/nodes ]] || cut -d' ' -f1 "$data/nodes"; }
field() { awk -v id="$1" -v n="$2" '$1 == id { print $n }' "$data/nodes"; }
brokers() { awk '{ printf "%s127.0.0.1:%s", sep, $2; sep = "," } END { print "" }' "$data/nodes"; }
known() { [[ -n ${1:-} && -n $(field "$1" 1) ]] || die "no node '${1:-}' here: $(nodes | tr '\n' ' ')"; }

# pid NODE: its process, if it lives. An id alone may have gone to another process since.
pid() {
    local pid
    pid=$(cat "$data/$1/pid" 2>/dev/null) || return 1
    grep -qzF "$data/$1/server.properties" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # free_port FROM
    local port=$1
    while listening "$port"; do port=$((port + 1)); done
    echo "$port"
}

# controller_port PORT: where the search for a node's controller port begins. It stays below 32768, from where the system
# takes the ports of outgoing connections: one of those may hold the port when the node starts.
controller_port() { if (($1 < 12000)); then echo $(($1 + 10000)); else echo $((2000 + $1 % 10000)); fi; }

lay_out() { # lay_out COUNT: chooses ports, writes each node's properties, formats its storage
    local count=$1 port=${KAFKA_PORT:-9092} id replicas=1 in_sync=1 voters cluster
    mkdir -p "$data"
    for ((id = 1; id <= count; id++)); do
        port=$(free_port "$port")
        echo "$id $port $(free_port "$(controller_port "$port")")"
        port=$((port + 1))
    done >"$data/nodes.new"
    ((count < 3)) || replicas=3 in_sync=2
    voters=$(awk '{ printf "%s%s@127.0.0.1:%s", sep, $1, $3; sep = "," }' "$data/nodes.new")
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c1-22)
    mv "$data/nodes.new" "$data/nodes"
    for id in $(nodes); do
        mkdir -p "$data/$id"
        sed -e "s|@ID@|$id|; s|@PORT@|$(field "$id" 2)|; s|@CONTROLLER_PORT@|$(field "$id" 3)|; s|@VOTERS@|$voters|" \
            -e "s|@DATA@|$data/$id/data|; s|@REPLICAS@|$replicas|; s|@IN_SYNC@|$in_sync|" \
            "$tools/kafka/server.properties" >"$data/$id/server.properties"
        run_tool kafka.tools.StorageTool format -t "$cluster" -c "$data/$id/server.properties" >>"$data/$id/log" 2>&1 ||
            die "node $id: the storage could not be formatted:" "$(tail -5 "$data/$id/log")"
    done
}

launch() { # launch NODE
    ! pid "$1" >/dev/null || die "node $1 runs already"
    # A session of its own and no input, so that the node outlives this shell.
    (
        exec setsid java -Xms256m "-Xmx$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:MaxDirectMemorySize=256m \
            -Djava.awt.headless=true -Dlog4j2.configurationFile="$tools/kafka/log4j2.properties" \
            -cp "$libs/*" kafka.Kafka "$data/$1/server.properties"
    ) >>"$data/$1/log" 2>&1 </dev/null &
    echo $! >"$data/$1/pid"
}

wait_until_up() { # wait_until_up NODE: the port opens when the broker has joined
    local deadline=$((SECONDS + 90))
    until listening "$(field "$1" 2)"; do
        kill -0 "$(cat "$data/$1/pid")" 2>/dev/null || die "node $1 ended:" "$(tail -20 "$data/$1/log")"
        ((SECONDS < deadline)) || die "node $1 was not up after 90 s:" "$(tail -20 "$data/$1/log")"
        sleep 0.1
    done
}

stop() {
    local id pid deadline=$((SECONDS + 30))
    for id in $(nodes); do
        ! pid=$(pid "$id") || kill "$pid"
    done
    for id in $(nodes); do
        while pid=$(pid "$id"); do
            ((SECONDS < deadline)) || kill -9 "$pid"
            sleep 0.1
        done
        rm -f "$data/$id/pid"
    done
}

case ${1:-} in
    start)
        count=${2:-$(nodes | wc -l)}
        ((count > 0)) || count=1
        [[ $count == 1 || $count == 3 ]] || die "1 or 3 nodes"
        "$tools/setup.sh" kafka >&2
        if [[ ! -f $data/nodes ]]; then
            lay_out "$count"
        elif [[ $(nodes | wc -l) != "$count" ]]; then
            die "$data was made for $(nodes | wc -l) node(s): run \`tools/kafka.sh wipe\` first, or set KAFKA_DATA"
        fi
        for id in $(nodes); do pid "$id" >/dev/null || launch "$id"; done
        for id in $(nodes); do wait_until_up "$id"; done
        brokers
        ;;
    stop) stop ;;
    kill9)
        known "${2:-}"
        pid=$(pid "$2") || die "node $2 is not running"
        kill -9 "$pid"
        ;;
    restart)
        known "${2:-}"
        launch "$2"
        wait_until_up "$2"
        ;;
    status)
        for id in $(nodes); do
            if pid=$(pid "$id"); then
                echo "node $id: 127.0.0.1:$(field "$id" 2), pid $pid, $(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status") MiB"
            else
                echo "node $id: down"
            fi
        done
        [[ -n $(nodes) ]] || echo "no nodes in $data"
        ;;
    topics)
        shift
        (($# > 0)) || set -- --list
        run_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$(brokers)" "$@"
        ;;
    run)
        shift
        class=${1:?a class, such as org.apache.kafka.tools.ConsoleConsumer}
        run_tool "$class" --bootstrap-server "$(brokers)" "${@:2}"
        ;;
    brokers) brokers ;;
    wipe)
        stop
        rm -rf "$data"
        ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        [[ ${1:-help} == help || $1 == --help || $1 == -h ]] || exit 2
        ;;
esac
