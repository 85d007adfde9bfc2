"""Istio: which build runs, istioctl, install and uninstall, versions, what the proxies acknowledge."""
