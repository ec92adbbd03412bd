// Command sample is the application that the test-bed's workloads run: one static program with the manners of the
// sandbox's sample app, so that scenarios can read the same answers on both. / answers JSON with release, commit, pod
// and namespace; /healthz; /delay?wait=SECONDS; /status?code=CODE; /metrics.
//
// Environment: PORT (8080), RELEASE, COMMIT, POD_NAME (else HOSTNAME), POD_NAMESPACE, FAIL_RATE (share answered 500),
// SLOW_RATE and SLOW_SECONDS, START_DELAY (seconds), CRASH=1 (ends at once).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// How long requests are still taken after SIGTERM: the time that proxies need to hear that the pod is going.
const lameDuck = 3 * time.Second

type application struct {
	home               []byte
	failRate, slowRate float64
	slow               time.Duration
	metrics            *metrics
	draining           atomic.Bool
}

func main() {
	if os.Getenv("CRASH") == "1" {
		log.Fatal("panic: CRASH=1")
	}
	app := &application{
		home:     home(),
		failRate: number("FAIL_RATE", 0),
		slowRate: number("SLOW_RATE", 0),
		slow:     seconds(number("SLOW_SECONDS", 1)),
		metrics:  newMetrics(),
	}
	time.Sleep(seconds(number("START_DELAY", 0)))
	server := &http.Server{
		Addr:              fmt.Sprintf(":%d", int(number("PORT", 8080))),
		Handler:           app.routes(),
		ReadHeaderTimeout: 10 * time.Second,
	}
	terminated, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		<-terminated.Done()
		app.drain(server)
		close(stopped)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

// drain answers on for a while, closing each connection with its answer, then waits for what is still busy.
func (app *application) drain(server *http.Server) {
	app.draining.Store(true)
	time.Sleep(lameDuck)
	deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		log.Print(err)
	}
}

func (app *application) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/healthz", app.healthz)
	routes.HandleFunc("/metrics", app.metrics.serve)
	routes.HandleFunc("/{$}", app.answering(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(app.home)
	}))
	routes.HandleFunc("/delay", app.answering(delay))
	routes.HandleFunc("/status", app.answering(status))
	routes.HandleFunc("/", app.answering(http.NotFound))
	return routes
}

func (app *application) healthz(w http.ResponseWriter, _ *http.Request) {
	if app.draining.Load() {
		http.Error(w, "going", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// answering wraps an answer with what all but /healthz and /metrics share: counting, drain, slowness and failures.
func (app *application) answering(handle http.HandlerFunc) http.HandlerFunc {
	return app.metrics.measured(func(w http.ResponseWriter, r *http.Request) {
		if app.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		if rand.Float64() < app.slowRate {
			time.Sleep(app.slow)
		}
		if rand.Float64() < app.failRate {
			http.Error(w, "this request was chosen to fail", http.StatusInternalServerError)
			return
		}
		handle(w, r)
	})
}

func delay(w http.ResponseWriter, r *http.Request) {
	wait, err := strconv.ParseFloat(r.URL.Query().Get("wait"), 64)
	if err != nil || wait < 0 {
		wait = 1
	}
	time.Sleep(seconds(wait))
	fmt.Fprintln(w, wait)
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "bad code", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
	if code != http.StatusNoContent && code != http.StatusNotModified {
		fmt.Fprintln(w, code)
	}
}

func home() []byte {
	names := map[string]string{
		"release":   first("RELEASE", "WORKFLOW_RELEASE"),
		"commit":    first("COMMIT", "GIT_SHA"),
		"pod":       first("POD_NAME", "HOSTNAME"),
		"namespace": first("POD_NAMESPACE"),
	}
	text, err := json.Marshal(names)
	if err != nil {
		log.Fatal(err)
	}
	return append(text, '\n')
}

func first(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func seconds(value float64) time.Duration {
	return time.Duration(value * float64(time.Second))
}

func number(name string, otherwise float64) float64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		log.Fatalf("%s: %q is not a number", name, text)
	}
	return value
}
