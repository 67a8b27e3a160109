package models

import (
	"encoding/json"
	"slices"
)

// tool is a tool that an agent offers to the model.
type tool struct {
	name   string
	schema schema
	code   bool // it is not called with arguments, but with a script that calls exec_command
}

type schema struct {
	Properties map[string]struct {
		Type any `json:"type"`
	} `json:"properties"`
	Required []string `json:"required"`
}

// shells are names that agents give to the tool that runs shell commands.
var shells = []string{"Bash", "bash", "shell", "shell_command", "exec_command", "run_shell_command"}

// pick adds a tool to what was offered, if it is one for the shell.
func (a *asked) pick(name string, parameters json.RawMessage) {
	if !slices.Contains(shells, name) {
		return
	}
	t := &tool{name: name}
	_ = json.Unmarshal(parameters, &t.schema)
	a.shell = t
}

// arguments are those of a call that runs a command: what the schema wants besides
// is filled with something harmless.
func (t *tool) arguments(command string) dict {
	if t.code {
		return dict{"cmd": command}
	}
	args := dict{}
	for _, name := range t.schema.Required {
		args[name] = map[any]any{"boolean": false, "number": 1, "integer": 1}[kind(t.schema.Properties[name].Type)]
		if args[name] == nil {
			args[name] = "a command"
		}
	}
	for _, name := range []string{"command", "cmd"} {
		switch p, ok := t.schema.Properties[name]; {
		case ok && kind(p.Type) == "array":
			args[name] = []string{"bash", "-c", command}
		case ok:
			args[name] = command
		}
	}
	return args
}

func kind(v any) string {
	s, _ := v.(string)
	if s == "ARRAY" {
		return "array"
	}
	return s
}

// words is a text as APIs have it: a string, or a list of blocks with texts.
func words(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var all string
		for _, x := range v {
			if block, ok := x.(map[string]any); ok {
				all += words(block["text"])
			}
		}
		return all
	case map[string]any:
		return compact(v)
	}
	return ""
}
