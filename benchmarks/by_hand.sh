#!/bin/sh
# The document's commands, one after the other, as a careful person types them. Changing this needs a decision page.
#   by_hand.sh FOLDER   with operator.json, bookinfo.json, prometheus.json, jaeger.json and `settings` in it (lab_by_hand.py)
# Prints "STEP SECONDS" lines. Nothing sleeps but the document's own two loops; waits are kubectl's.
set -eu
cd "$1"
. ./settings # PYTHON ISTIOCTL KUBECTL NAME NETWORK KUBECONFIG
export KUBECONFIG
now() { date +%s.%N; }
step() { # step NAME COMMAND…   `set -e` does not reach into COMMAND, as `||` follows it: functions pass failures on
  name=$1
  shift
  began=$(now)
  "$@" >"$name.log" 2>&1 || { cat "$name.log" >&2; exit 1; }
  echo "$name $(echo "$(now) $began" | awk '{printf "%.3f", $1 - $2}')"
}
page() { $KUBECTL exec deploy/sleep -c sleep -- curl -s -o /dev/null -m 10 http://productpage:9080/productpage; }
loop() { # loop TIMES PAUSE
  left=$1
  while [ "$left" -gt 0 ]; do
    page || return
    sleep "$2"
    left=$((left - 1))
  done
}
ready() { # ready NAMESPACE DEPLOYMENT…
  space=$1
  shift
  for each; do $KUBECTL -n "$space" rollout status --timeout=300s "$each" || return; done
}
addon() {
  $KUBECTL apply -f "$1.json" &&
    ready istio-system "deployment/$1"
}
install() {
  $ISTIOCTL install -y -f operator.json &&
    $KUBECTL label namespace default istio-injection=enabled --overwrite
}
bookinfo() {
  $KUBECTL apply -f bookinfo.json || return
  # shellcheck disable=SC2046
  ready default $($KUBECTL get deployments -o name)
}
ask() { # ask QUERY: of Prometheus, through the API server
  $KUBECTL get --raw "/api/v1/namespaces/istio-system/services/prometheus:9090/proxy/api/v1/query?query=$1"
}
queries() {
  for each in istio_requests_total 'rate(istio_requests_total%5B5m%5D)' \
    'istio_requests_total%7Bdestination_service=%22productpage.default.svc.cluster.local%22%7D' \
    'rate(istio_requests_total%7Bdestination_service=~%22productpage.*%22,response_code=%22200%22%7D%5B5m%5D)'; do
    ask "$each" || return
  done
}
traces() { $KUBECTL get --raw /api/v1/namespaces/istio-system/services/tracing:80/proxy/jaeger/api/services; }

whole_began=$(now)
step up "$PYTHON" -m meshlab.clusters.local up --name "$NAME" --network "$NETWORK"
step install install
step bookinfo bookinfo
step token "$KUBECTL" -n default create token default
step prometheus addon prometheus
step jaeger addon jaeger
step loop-fast loop 67 0.3
step queries queries
step loop-gentle loop 7 1.5
step traces traces
step uninstall "$ISTIOCTL" uninstall -y --purge
step down "$PYTHON" -m meshlab.clusters.local down --name "$NAME" --network "$NETWORK"
echo "whole $(echo "$(now) $whole_began" | awk '{printf "%.3f", $1 - $2}')"
