// Command coredns is CoreDNS with only the plugins the lab's Corefile uses.
//
// CoreDNS is meant to be rebuilt with a chosen plugin list: its stock main links three clouds' SDKs
// that a cluster on one machine never calls. Importing a plugin's package registers it; the order in
// which a query passes the plugins is dnsserver.Directives, fixed by CoreDNS and not by this file.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	coremain.Run()
}
