// Package models stands for the HTTP APIs of model providers in tests of coding
// agents: Anthropic's messages, OpenAI's responses (over HTTP and WebSocket) and
// chat completions, and Gemini's generateContent, streamed and whole. What the
// model says is a script, and every request is kept.
package models

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Turn is one answer of the model: a text, or, where Shell is set, a call of the
// tool that runs shell commands.
type Turn struct {
	Text  string
	Shell string
}

// Request is one request that arrived.
type Request struct {
	Method, Host, Path string // the path without the query
	Key                string // the credential, without "Bearer "
	Body               string
}

// Server answers for every provider. The zero value has nothing to say: set Script.
// Its methods are safe for concurrent use.
type Server struct {
	// Script is the conversation. The model's answer to a request with n results of
	// tools in it is turn n; the last turn answers what comes after it. Requests
	// that offer no tool for the shell, such as for a title, are answered "ok".
	Script []Turn

	mu       sync.Mutex
	requests []Request
	results  []string
}

// Requests are the requests so far, whoever was asked.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Results are what tools returned to the model, as the last request that had any
// repeats it.
func (s *Server) Results() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.results...)
}

// Reset forgets what arrived, and takes a new script.
func (s *Server) Reset(script ...Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.results, s.Script = nil, nil, script
}

// asked is what all APIs have in common.
type asked struct {
	model   string
	stream  bool
	shell   *tool // nil: none is offered
	results []string
}

// ServeHTTP answers as the provider whose path is asked for; 404 for others.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.keep(r, string(body))
	path := r.URL.Path
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(path, "/responses"):
		s.socket(w, r)
	case r.Method == http.MethodGet && strings.HasSuffix(path, "/hello"): // of Anthropic, by which Claude Code finds out whether it may start
		reply(w, dict{"message": "hello"})
	case r.Method != http.MethodPost:
		http.Error(w, `{"error":{"message":"nothing here","type":"not_found_error"}}`, http.StatusNotFound)
	case strings.HasSuffix(path, "/messages/count_tokens"):
		reply(w, dict{"input_tokens": 1})
	case strings.HasSuffix(path, "/messages"):
		anthropic(w, s.turn(askedAnthropic(body)))
	case strings.HasSuffix(path, "/responses"):
		responses(w, s.turn(askedResponses(body)))
	case strings.HasSuffix(path, "/chat/completions"):
		chat(w, s.turn(askedChat(body)))
	case strings.HasSuffix(path, "ontent") && strings.Contains(path, "/models/"): // …:generateContent and …:streamGenerateContent
		gemini(w, s.turn(askedGemini(body, path)))
	case strings.HasSuffix(path, ":countTokens"):
		reply(w, dict{"totalTokens": 1})
	default:
		http.Error(w, `{"error":{"message":"nothing here","type":"not_found_error"}}`, http.StatusNotFound)
	}
}

func (s *Server) keep(r *http.Request, body string) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, name := range []string{"X-Api-Key", "X-Goog-Api-Key"} {
		if v := r.Header.Get(name); v != "" {
			key = v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{r.Method, r.Host, r.URL.Path, key, body})
}

// answer is what to say to a request.
type answer struct {
	asked
	text string
	call dict // arguments of the shell; nil: text
}

func (s *Server) turn(a asked) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(a.results) > 0 {
		s.results = a.results
	}
	if a.shell == nil || len(s.Script) == 0 {
		return answer{a, "ok", nil}
	}
	t := s.Script[min(len(a.results), len(s.Script)-1)]
	if t.Shell == "" {
		return answer{a, t.Text, nil}
	}
	return answer{a, "", a.shell.arguments(t.Shell)}
}

type dict = map[string]any

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// events writes a stream of server-sent events, each of which is there before the
// next is made.
type events struct {
	w     http.ResponseWriter
	typed bool // each has its type as its name
}

func stream(w http.ResponseWriter, typed bool) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	return &events{w, typed}
}

func (e *events) send(data dict) {
	text, _ := json.Marshal(data) // of strings and numbers
	if e.typed {
		_, _ = io.WriteString(e.w, "event: "+data["type"].(string)+"\n")
	}
	_, _ = io.WriteString(e.w, "data: "+string(text)+"\n\n")
	_ = http.NewResponseController(e.w).Flush()
}

func compact(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
