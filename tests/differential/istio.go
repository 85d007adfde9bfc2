// Makes the configuration that istiod would send to a sidecar, by Istio's own packages.
//
// Reads one world a line on standard input: {mesh, objects, workload: {namespace, labels}, ports}. Writes one
// line each: {filters: the HTTP filters in order, modes: port -> mutual TLS}. Compiled in the module of the
// embedded distribution, so with the Istio that the lab runs (tests/differential/generate.py).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/security/authn"
	"istio.io/istio/pilot/pkg/security/authz/builder"
	"istio.io/istio/pilot/pkg/security/trustdomain"
	registry "istio.io/istio/pilot/pkg/serviceregistry/memory"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/kind"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/util/sets"
)

// Never asked for a key over the network: every rule brings its own.
var keys = model.NewJwksResolver(time.Hour, time.Hour, time.Hour, time.Hour)

type world struct {
	Mesh struct {
		TrustDomain   string   `json:"trustDomain"`
		Aliases       []string `json:"trustDomainAliases"`
		RootNamespace string   `json:"rootNamespace"`
	} `json:"mesh"`
	Objects  []json.RawMessage `json:"objects"`
	Workload struct {
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"workload"`
	Ports []uint32 `json:"ports"`
}

type answer struct {
	Filters []json.RawMessage `json:"filters"`
	Modes   map[string]string `json:"modes"`
}

func main() {
	quiet := log.DefaultOptions()
	quiet.OutputPaths = []string{"stderr"}
	must(log.Configure(quiet))
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewDecoder(in)
	for lines.More() {
		var w world
		must(lines.Decode(&w))
		line, err := json.Marshal(configure(w))
		must(err)
		_, err = out.Write(append(line, '\n'))
		must(err)
	}
}

func configure(w world) answer {
	push := newPush(w)
	proxy := &model.Proxy{
		Type:            model.SidecarProxy,
		ConfigNamespace: w.Workload.Namespace,
		Labels:          w.Workload.Labels,
		Metadata:        &model.NodeMetadata{Namespace: w.Workload.Namespace, Labels: w.Workload.Labels},
	}
	applier := authn.NewPolicyApplier(push, proxy, nil)
	filters := []*hcm.HttpFilter{}
	if jwt := applier.JwtFilter(false); jwt != nil {
		filters = append(filters, jwt)
	}
	bundle := trustdomain.NewBundle(w.Mesh.TrustDomain, w.Mesh.Aliases)
	policies := push.AuthzPolicies.ListAuthorizationPolicies(model.PolicyMatcherForProxy(proxy))
	if b := builder.New(bundle, push, policies, builder.Option{}); b != nil {
		filters = append(filters, b.BuildHTTP()...)
	}
	told := answer{Filters: []json.RawMessage{}, Modes: map[string]string{}}
	for _, filter := range filters {
		text, err := protojson.Marshal(filter)
		must(err)
		told.Filters = append(told.Filters, text)
	}
	for _, port := range w.Ports {
		told.Modes[fmt.Sprint(port)] = applier.GetMutualTLSModeForPort(port).String()
	}
	return told
}

func newPush(w world) *model.PushContext {
	config := mesh.DefaultMeshConfig()
	config.TrustDomain = w.Mesh.TrustDomain
	config.TrustDomainAliases = w.Mesh.Aliases
	config.RootNamespace = w.Mesh.RootNamespace
	store := memory.Make(collections.Pilot)
	for _, object := range w.Objects {
		parsed, unknown, err := crd.ParseInputs(string(object))
		must(err)
		if len(parsed) != 1 || len(unknown) > 0 {
			must(fmt.Errorf("not one object of Istio's: %s", object))
		}
		_, err = store.Create(parsed[0])
		must(err)
	}
	env := model.NewEnvironment()
	env.ConfigStore = store
	env.Watcher = meshwatcher.NewTestWatcher(config)
	env.NetworksWatcher = meshwatcher.NewFixedNetworksWatcher(nil)
	env.ServiceDiscovery = registry.NewServiceDiscovery()
	env.Init()
	push := model.NewPushContext()
	push.JwtKeyResolver = keys
	// Only policies change between two pushes; all else, of which a world has nothing, is taken over.
	before := model.NewPushContext()
	before.InitDone.Store(true)
	changed := sets.New(
		model.ConfigKey{Kind: kind.AuthorizationPolicy},
		model.ConfigKey{Kind: kind.RequestAuthentication},
	)
	push.InitContext(env, before, &model.PushRequest{ConfigsUpdated: changed})
	return push
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
