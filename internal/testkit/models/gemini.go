package models

import (
	"encoding/json"
	"net/http"
	"strings"
)

// askedGemini reads a body of …:generateContent or …:streamGenerateContent.
func askedGemini(body []byte, path string) asked {
	var q struct {
		Tools []struct {
			FunctionDeclarations []struct {
				Name                 string
				Parameters           json.RawMessage
				ParametersJSONSchema json.RawMessage `json:"parametersJsonSchema"`
			}
		}
		Contents []struct {
			Parts []struct {
				FunctionResponse *struct{ Response any }
			}
		}
	}
	_ = json.Unmarshal(body, &q)
	a := asked{stream: strings.Contains(path, ":stream")}
	for _, t := range q.Tools {
		for _, f := range t.FunctionDeclarations {
			schema := f.ParametersJSONSchema
			if schema == nil {
				schema = f.Parameters
			}
			a.pick(f.Name, schema)
		}
	}
	for _, c := range q.Contents {
		for _, p := range c.Parts {
			if p.FunctionResponse != nil {
				a.results = append(a.results, words(p.FunctionResponse.Response))
			}
		}
	}
	return a
}

// gemini answers as the Gemini API does, streamed or whole.
func gemini(w http.ResponseWriter, a answer) {
	part := dict{"text": a.text}
	if a.call != nil {
		part = dict{"functionCall": dict{"name": a.shell.name, "args": a.call}}
	}
	response := dict{"modelVersion": "stand-in", "responseId": "r1",
		"candidates":    []any{dict{"index": 0, "content": dict{"role": "model", "parts": []any{part}}, "finishReason": "STOP"}},
		"usageMetadata": dict{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}
	if !a.stream {
		reply(w, response)
		return
	}
	stream(w, false).send(response)
}
