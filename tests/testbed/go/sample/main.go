// Command sample is the application that the test-bed's workloads run. It answers like croc-hunter: / with its
// release, commit and pod, /healthz, /delay?wait=SECONDS, /status?code=CODE and /metrics. The environment says how
// bad it is: FAIL_RATE and SLOW_RATE are shares (0 to 1) of the requests to / that fail with 500 or take
// SLOW_SECONDS; RELEASE and COMMIT are what it answers; PORT (8080) is where.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

type application struct {
	release, commit, pod string
	failRate, slowRate   float64
	slow                 time.Duration
	metrics              *metrics
}

func main() {
	app := &application{
		release:  os.Getenv("RELEASE"),
		commit:   os.Getenv("COMMIT"),
		pod:      os.Getenv("HOSTNAME"),
		failRate: number("FAIL_RATE", 0),
		slowRate: number("SLOW_RATE", 0),
		slow:     seconds(number("SLOW_SECONDS", 1)),
		metrics:  newMetrics(),
	}
	server := &http.Server{
		Addr:              fmt.Sprintf(":%d", int(number("PORT", 8080))),
		Handler:           app.routes(),
		ReadHeaderTimeout: 10 * time.Second,
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		<-stop.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(deadline); err != nil {
			log.Print(err)
		}
		close(stopped)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

func (app *application) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /{$}", app.metrics.measured(app.home))
	routes.HandleFunc("GET /delay", app.metrics.measured(delay))
	routes.HandleFunc("GET /status", app.metrics.measured(status))
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	routes.HandleFunc("GET /metrics", app.metrics.serve)
	return routes
}

func (app *application) home(w http.ResponseWriter, _ *http.Request) {
	if rand.Float64() < app.slowRate {
		time.Sleep(app.slow)
	}
	if rand.Float64() < app.failRate {
		w.WriteHeader(http.StatusInternalServerError)
	}
	fmt.Fprintf(w, "Release: %s\nCommit: %s\nPod: %s\n", app.release, app.commit, app.pod)
}

func delay(w http.ResponseWriter, r *http.Request) {
	wait, err := strconv.ParseFloat(r.URL.Query().Get("wait"), 64)
	if err != nil || wait < 0 {
		http.Error(w, "wait: a number of seconds, 0 or more", http.StatusBadRequest)
		return
	}
	time.Sleep(seconds(wait))
	fmt.Fprintf(w, "waited %v seconds\n", wait)
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Query().Get("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "code: an HTTP status from 200 to 599", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
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
