"""What a notification says: the summary as its title; then the description, which ends in the fix.

Go templates, with what Alertmanager 0.25 has. The first few alerts of a notification are told in
full, the rest in a line each: services cut long messages off, or refuse them.
"""

from __future__ import annotations

FILE = "smolmon.tmpl"  # beside alertmanager.yml, which its name is relative to
TITLE = '{{ template "smolmon.title" . }}'
TEXT = '{{ template "smolmon.text" . }}'

IN_FULL = 3
AT_ALL = 20

TEMPLATES = (
    (
        """\
{{/* Written by smolmon render. Changes are lost when it writes again. */}}

{{ define "smolmon.title" -}}
{{ if eq .Status "firing" }}{{ or .CommonLabels.severity "alert" | toUpper }}\
{{ else }}RESOLVED{{ end }} {{ .CommonLabels.cluster }}: \
{{ with index .Alerts 0 }}{{ or .Annotations.summary .Labels.alertname }}{{ end }}\
{{ if gt (len .Alerts) 1 }} ({{ len .Alerts }} alerts){{ end }}
{{- end }}

{{ define "smolmon.text" -}}
{{ range $number, $alert := .Alerts.Firing -}}
{{ if lt $number IN_FULL -}}
{{ or .Annotations.summary .Labels.alertname }}

{{ .Annotations.description }}
{{ with .Annotations.runbook_url }}
{{ . }}
{{ end }}
{{ else if lt $number AT_ALL -}}
{{ or .Annotations.summary .Labels.alertname }}
{{ end -}}
{{ end -}}
{{ range $number, $alert := .Alerts.Resolved -}}
{{ if lt $number AT_ALL -}}
Resolved: {{ or .Annotations.summary .Labels.alertname }}
{{ end -}}
{{ end -}}
{{ end }}
"""
    )
    .replace("IN_FULL", str(IN_FULL))
    .replace("AT_ALL", str(AT_ALL))
)

# ntfy fills these from what Alertmanager posts; it knows Go's own functions, and `\n` for a line's
# end. It refuses a message that is too long, so each part has its length: 3 x (200 + 950 + ...).
NTFY_TITLE = (
    '{{if eq .status "firing"}}{{or .commonLabels.severity "alert"}}{{else}}resolved{{end}} '
    "{{.commonLabels.cluster}}: {{with index .alerts 0}}{{with .annotations.summary}}"
    '{{printf "%.180s" .}}{{end}}{{end}}'
)
NTFY_MESSAGE = (
    '{{range .alerts}}{{with .annotations.summary}}{{printf "%.200s" .}}{{end}}\\n'
    '{{if eq .status "firing"}}{{with .annotations.description}}{{printf "%.950s" .}}{{end}}'
    "{{else}}resolved{{end}}\\n\\n{{end}}"
    "{{if .truncatedAlerts}}and {{.truncatedAlerts}} more{{end}}"
)
