"""A real one-node Kubernetes with Istio, Envoy and Prometheus, built from package registries; see README.md here."""
