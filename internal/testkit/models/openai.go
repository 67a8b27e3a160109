package models

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// askedResponses reads a body of POST /v1/responses.
func askedResponses(body []byte) asked {
	var q struct {
		Model  string
		Stream bool
		Tools  []struct {
			Name       string
			Parameters json.RawMessage
		}
		Input any
	}
	_ = json.Unmarshal(body, &q)
	a := asked{model: q.Model, stream: q.Stream}
	for _, t := range q.Tools {
		a.pick(t.Name, t.Parameters)
	}
	items, _ := q.Input.([]any)
	for _, i := range items {
		switch item, _ := i.(map[string]any); item["type"] {
		case "function_call_output", "custom_tool_call_output":
			a.results = append(a.results, words(item["output"]))
		case "additional_tools":
			if strings.Contains(compact(item), "tools.exec_command") {
				a.shell = &tool{name: "exec", code: true}
			}
		}
	}
	return a
}

// answerOf is the item that answers, and how it begins.
func answerOf(a answer) (item, begun dict) {
	switch {
	case a.call != nil && a.shell.code:
		item = dict{"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_" + compact(len(a.results)), "name": a.shell.name,
			"input": "text(JSON.stringify(await tools.exec_command(" + compact(a.call) + ")))", "status": "completed"}
		return item, dict{"type": "custom_tool_call", "id": "ctc_1", "call_id": item["call_id"], "name": a.shell.name, "input": ""}
	case a.call != nil:
		item = dict{"type": "function_call", "id": "fc_1", "call_id": "call_" + compact(len(a.results)), "name": a.shell.name,
			"arguments": compact(a.call), "status": "completed"}
		return item, dict{"type": "function_call", "id": "fc_1", "call_id": item["call_id"], "name": a.shell.name, "arguments": ""}
	}
	item = dict{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
		"content": []any{dict{"type": "output_text", "text": a.text, "annotations": []any{}}}}
	return item, dict{"type": "message", "id": "msg_1", "role": "assistant", "content": []any{}}
}

// tell sends the events of an answer.
func tell(a answer, send func(dict)) dict {
	item, begun := answerOf(a)
	response := dict{"id": "resp_1", "object": "response", "created_at": 1, "model": a.model, "status": "in_progress", "output": []any{}}
	send(dict{"type": "response.created", "response": response})
	send(dict{"type": "response.output_item.added", "output_index": 0, "item": begun})
	switch {
	case a.call != nil && a.shell.code:
		send(dict{"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "output_index": 0, "delta": item["input"]})
	case a.call != nil:
		send(dict{"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": item["arguments"]})
	default:
		send(dict{"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": dict{"type": "output_text", "text": ""}})
		send(dict{"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": a.text})
	}
	send(dict{"type": "response.output_item.done", "output_index": 0, "item": item})
	done := dict{"id": "resp_1", "object": "response", "created_at": 1, "model": a.model, "status": "completed", "output": []any{item},
		"usage": dict{"input_tokens": 1, "input_tokens_details": dict{"cached_tokens": 0}, "output_tokens": 1,
			"output_tokens_details": dict{"reasoning_tokens": 0}, "total_tokens": 2}}
	send(dict{"type": "response.completed", "response": done})
	return done
}

// responses answers as the Responses API does, streamed or whole.
func responses(w http.ResponseWriter, a answer) {
	if !a.stream {
		reply(w, tell(a, func(dict) {}))
		return
	}
	tell(a, stream(w, true).send)
}

// socket answers as the Responses API does over a WebSocket: each message is a body,
// and each event a message. A body that goes on from a response has only what is new.
func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(16 << 20)
	var before asked
	for {
		_, body, err := c.Read(r.Context())
		if err != nil {
			return
		}
		s.keep(r, string(body))
		a := askedResponses(body)
		if strings.Contains(string(body), `"previous_response_id":"`) {
			a.shell, a.results = before.shell, append(before.results, a.results...)
		}
		before = a
		tell(s.turn(a), func(d dict) { _ = c.Write(r.Context(), websocket.MessageText, []byte(compact(d))) })
	}
}

// askedChat reads a body of POST /v1/chat/completions.
func askedChat(body []byte) asked {
	var q struct {
		Model  string
		Stream bool
		Tools  []struct {
			Function struct {
				Name       string
				Parameters json.RawMessage
			}
		}
		Messages []struct {
			Role    string
			Content any
		}
	}
	_ = json.Unmarshal(body, &q)
	a := asked{model: q.Model, stream: q.Stream}
	for _, t := range q.Tools {
		a.pick(t.Function.Name, t.Function.Parameters)
	}
	for _, m := range q.Messages {
		if m.Role == "tool" {
			a.results = append(a.results, words(m.Content))
		}
	}
	return a
}

// chat answers as the Chat Completions API does, streamed or whole.
func chat(w http.ResponseWriter, a answer) {
	message, why := dict{"role": "assistant", "content": a.text}, "stop"
	if a.call != nil {
		call := dict{"index": 0, "id": "call_" + compact(len(a.results)), "type": "function", "function": dict{"name": a.shell.name, "arguments": compact(a.call)}}
		message, why = dict{"role": "assistant", "content": nil, "tool_calls": []any{call}}, "tool_calls"
	}
	whole := dict{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": a.model,
		"usage": dict{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
	if !a.stream {
		whole["choices"] = []any{dict{"index": 0, "message": message, "finish_reason": why}}
		reply(w, whole)
		return
	}
	whole["object"] = "chat.completion.chunk"
	e := stream(w, false)
	whole["choices"] = []any{dict{"index": 0, "delta": message, "finish_reason": nil}}
	e.send(whole)
	whole["choices"] = []any{dict{"index": 0, "delta": dict{}, "finish_reason": why}}
	e.send(whole)
	_, _ = w.Write([]byte("data: [DONE]\n\n"))
}
