package models

import (
	"encoding/json"
	"net/http"
)

// askedAnthropic reads a body of POST /v1/messages.
func askedAnthropic(body []byte) asked {
	var q struct {
		Model  string
		Stream bool
		Tools  []struct {
			Name        string
			InputSchema json.RawMessage `json:"input_schema"`
		}
		Messages []struct{ Content any }
	}
	_ = json.Unmarshal(body, &q)
	a := asked{model: q.Model, stream: q.Stream}
	for _, t := range q.Tools {
		a.pick(t.Name, t.InputSchema)
	}
	for _, m := range q.Messages {
		blocks, _ := m.Content.([]any)
		for _, b := range blocks {
			if block, _ := b.(map[string]any); block["type"] == "tool_result" {
				a.results = append(a.results, words(block["content"]))
			}
		}
	}
	return a
}

// anthropic answers as the Messages API does, streamed or whole.
func anthropic(w http.ResponseWriter, a answer) {
	block, why := dict{"type": "text", "text": a.text}, "end_turn"
	if a.call != nil {
		block, why = dict{"type": "tool_use", "id": "toolu_1" + compact(len(a.results)), "name": a.shell.name, "input": a.call}, "tool_use"
	}
	message := dict{"id": "msg_1", "type": "message", "role": "assistant", "model": a.model, "content": []any{block},
		"stop_reason": why, "stop_sequence": nil, "usage": dict{"input_tokens": 1, "output_tokens": 1}}
	if !a.stream {
		reply(w, message)
		return
	}
	delta := dict{"type": "text_delta", "text": a.text}
	empty := dict{"type": "text", "text": ""}
	if a.call != nil {
		delta = dict{"type": "input_json_delta", "partial_json": compact(a.call)}
		empty = dict{"type": "tool_use", "id": block["id"], "name": block["name"], "input": dict{}}
	}
	message["content"], message["stop_reason"] = []any{}, nil
	e := stream(w, true)
	e.send(dict{"type": "message_start", "message": message})
	e.send(dict{"type": "content_block_start", "index": 0, "content_block": empty})
	e.send(dict{"type": "content_block_delta", "index": 0, "delta": delta})
	e.send(dict{"type": "content_block_stop", "index": 0})
	e.send(dict{"type": "message_delta", "delta": dict{"stop_reason": why, "stop_sequence": nil}, "usage": dict{"output_tokens": 1}})
	e.send(dict{"type": "message_stop"})
}
