// Command enforcer makes one node enforce NetworkPolicies, with the controller of kube-network-policies.
//
// The stock main takes its access from a pod's service account and serves metrics on a port of every node. Here
// it is a program of the node like kube-proxy: it gets a kubeconfig and serves nothing. It ends when the controller
// ends, so that it is started again; until then the kernel drops what it would have been asked about.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// Protobuf has no empty list, only none. The controller takes an empty list of rules, which JSON can say, for
// "everything is allowed"; in the API it means "nothing is".
const protobuf = "application/vnd.kubernetes.protobuf"

// The controller asks containerd's NRI for pods' addresses, at a fixed socket, which would be the machine's own
// containerd. A value that is no file descriptor keeps it away: then it knows them from the API server alone.
const noNRI = "none"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file with the access to the API server")
	node := flag.String("hostname-override", "", "name of the node whose pods are protected")
	queue := flag.Int("nfqueue-id", 98, "number of the netfilter queue, of the node's network namespace")
	klog.InitFlags(nil)
	flag.Parse()
	if err := run(*kubeconfig, *node, *queue); err != nil {
		klog.ErrorS(err, "NetworkPolicies are not enforced")
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
}

func run(kubeconfig, node string, queue int) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := os.Setenv("NRI_PLUGIN_SOCKET", noNRI); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = protobuf
	config.AcceptContentTypes = protobuf
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	watched := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		watched.Networking().V1().NetworkPolicies(),
		watched.Core().V1().Namespaces(),
		watched.Core().V1().Pods(),
		nil, nil, nil, nil, // of AdminNetworkPolicy, which is another API
		networkpolicy.Config{NodeName: node, QueueID: queue, NetfilterBug1766Fix: true},
	)
	if err != nil {
		return err
	}
	watched.Start(ctx.Done())
	return controller.Run(ctx)
}
