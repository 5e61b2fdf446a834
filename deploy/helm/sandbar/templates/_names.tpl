{{/* Names and labels. At most 50 bytes, so that the name of a pod, with its number, is a DNS label. */}}
{{- define "sandbar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The Service without an address of its own, by which each host has a name. */}}
{{- define "sandbar.headless" -}}
{{ include "sandbar.fullname" . }}-hosts
{{- end -}}

{{/* The labels that select the pods. They never change. */}}
{{- define "sandbar.selector" -}}
app.kubernetes.io/name: sandbar
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sandbar.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "sandbar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "sandbar.serviceAccount" -}}
{{- $made := ternary (include "sandbar.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{- define "sandbar.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with certificate and key, or nothing. */}}
{{- define "sandbar.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "sandbar.fullname" . }}-tls
{{- else -}}
{{- .Values.tls.secret -}}
{{- end -}}
{{- end -}}

{{- define "sandbar.scheme" -}}
{{- ternary "https" "http" (ne (include "sandbar.tlsSecret" .) "") -}}
{{- end -}}

{{/* The names by which clients in the Kubernetes cluster call the Service, as a list in JSON. */}}
{{- define "sandbar.serviceNames" -}}
{{- $name := include "sandbar.fullname" . -}}
{{- $space := printf "%s.%s" $name .Release.Namespace -}}
{{- list $name $space (printf "%s.svc" $space) (printf "%s.svc.%s" $space .Values.clusterDomain) | toJson -}}
{{- end -}}

{{/* Files of the hosts that are values: names and contents. */}}
{{- define "sandbar.files" -}}
{{- with .Values.teams }}
teams.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.auth.oidc.roles }}
oidc-roles.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tls.client.roles }}
client-roles.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
