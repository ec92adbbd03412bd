package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Upper edges in seconds, the defaults of Prometheus' client libraries.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

type kind struct {
	code   int
	method string
}

// metrics counts requests by status code and method, and their durations, for Prometheus' text format.
type metrics struct {
	mutex    sync.Mutex
	requests map[kind]uint64
	within   []uint64 // requests per bucket, not cumulative; the last is above every edge
	sum      float64
}

func newMetrics() *metrics {
	return &metrics{requests: make(map[kind]uint64), within: make([]uint64, len(buckets)+1)}
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (m *metrics) measured(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		recorded := &recorder{w, http.StatusOK}
		handle(recorded, r)
		m.add(kind{recorded.code, r.Method}, time.Since(begin).Seconds())
	}
}

func (m *metrics) add(request kind, duration float64) {
	bucket, _ := slices.BinarySearch(buckets, duration)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.requests[request]++
	m.within[bucket]++
	m.sum += duration
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var text strings.Builder
	text.WriteString("# TYPE http_requests_total counter\n")
	for request, count := range m.requests {
		fmt.Fprintf(&text, "http_requests_total{code=\"%d\",method=%q} %d\n", request.code, request.method, count)
	}
	text.WriteString("# TYPE http_request_duration_seconds histogram\n")
	var total uint64
	for i, edge := range buckets {
		total += m.within[i]
		fmt.Fprintf(&text, "http_request_duration_seconds_bucket{le=\"%v\"} %d\n", edge, total)
	}
	total += m.within[len(buckets)]
	fmt.Fprintf(&text, "http_request_duration_seconds_bucket{le=\"+Inf\"} %d\n", total)
	fmt.Fprintf(&text, "http_request_duration_seconds_sum %v\n", m.sum)
	fmt.Fprintf(&text, "http_request_duration_seconds_count %d\n", total)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprint(w, text.String())
}
