{{- define "metamaster.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default "metamaster-operator" .Values.nameOverride }}
{{- if or (contains $name .Release.Name) (eq .Release.Name "metamaster") }}
{{- $name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "metamaster.selector" -}}
app.kubernetes.io/name: metamaster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "metamaster.labels" -}}
{{ include "metamaster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: metamaster
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "metamaster.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}
{{- include "metamaster.fullname" . }}
{{- else }}
{{- fail "serviceAccount.create is false: name the account that exists in serviceAccount.name" }}
{{- end }}
{{- end }}

{{- define "metamaster.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}
