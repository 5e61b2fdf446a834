{{/* Volumes of Secrets and ConfigMaps that the operator made. Each is mounted whole: a mount of a single file never changes. */}}
{{- define "sandbar.mounts" -}}
{{- $v := .Values -}}
{{- $mounts := list -}}
{{- with include "sandbar.tlsSecret" . -}}
{{- $mounts = append $mounts (dict "name" "tls" "secret" . "path" "/etc/sandbar/tls") -}}
{{- end -}}
{{- with $v.tls.client.caSecret -}}
{{- $mounts = append $mounts (dict "name" "client-ca" "secret" . "path" "/etc/sandbar/client-ca") -}}
{{- end -}}
{{- with $v.auth.adminToken.secret -}}
{{- $mounts = append $mounts (dict "name" "admin-token" "secret" . "path" "/etc/sandbar/admin-token") -}}
{{- end -}}
{{- with $v.auth.oidc.caConfigMap -}}
{{- $mounts = append $mounts (dict "name" "oidc-ca" "configMap" . "path" "/etc/sandbar/oidc-ca") -}}
{{- end -}}
{{- with $v.otlp.caConfigMap -}}
{{- $mounts = append $mounts (dict "name" "otlp-ca" "configMap" . "path" "/etc/sandbar/otlp-ca") -}}
{{- end -}}
{{- with $v.kafka.configSecret -}}
{{- $mounts = append $mounts (dict "name" "kafka" "secret" . "path" "/etc/sandbar/kafka") -}}
{{- end -}}
{{- with $v.kafka.teamsSecret -}}
{{- $mounts = append $mounts (dict "name" "kafka-teams" "secret" . "path" "/etc/sandbar/kafka-teams") -}}
{{- end -}}
{{- range $team, $secret := $v.secrets -}}
{{- /* By a digest: the name of a volume is no longer than 63 bytes, which a team may have for itself. */ -}}
{{- $name := printf "secrets-%s" (sha256sum $team | trunc 12) -}}
{{- $mounts = append $mounts (dict "name" $name "secret" $secret "path" (printf "/etc/sandbar/secrets/%s" $team)) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end -}}

{{/* The environment: each variable is a flag of `sandbar serve`. */}}
{{- define "sandbar.env" -}}
{{- $v := .Values -}}
{{- $oidc := $v.auth.oidc -}}
{{- $below := printf "%s.%s.svc" (include "sandbar.headless" .) .Release.Namespace -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
# A part of transactional ids: a restarted pod fences its own past.
- name: SANDBAR_HOST
  value: $(POD_NAME)
- name: SANDBAR_CLUSTER
  value: {{ $v.cluster | quote }}
- name: SANDBAR_BROKERS
  value: {{ join "," $v.kafka.brokers | quote }}
# A folder of its own: the volume's root belongs to root, and the host's files are for nobody else.
- name: SANDBAR_DATA_DIR
  value: /var/lib/sandbar/data
- name: SANDBAR_LISTEN
  value: {{ ternary "[::]:8080" "0.0.0.0:8080" (eq $v.listen "::") | quote }}
- name: SANDBAR_ADVERTISE
  value: {{ include "sandbar.scheme" . }}://$(POD_NAME).{{ $below }}:8080
- name: SANDBAR_ALLOWED_REDIRECTS
  value: {{ printf "*.%s" $below | quote }}
- name: SANDBAR_ALLOWED_HOSTS
  value: {{ concat (include "sandbar.serviceNames" . | fromJsonArray) $v.allowedHosts | join "," | quote }}
{{- if include "sandbar.tlsSecret" . }}
- name: SANDBAR_TLS_CERT
  value: /etc/sandbar/tls/tls.crt
- name: SANDBAR_TLS_KEY
  value: /etc/sandbar/tls/tls.key
{{- else }}
- name: SANDBAR_INSECURE_NO_TLS
  value: "true"
{{- end }}
{{- if $v.tls.client.caSecret }}
- name: SANDBAR_TLS_CLIENT_CA
  value: /etc/sandbar/client-ca/{{ $v.tls.client.caKey }}
- name: SANDBAR_TLS_CLIENT_REQUIRED
  value: {{ $v.tls.client.required | quote }}
{{- end }}
{{- if $v.tls.client.roles }}
- name: SANDBAR_CLIENT_ROLES
  value: /etc/sandbar/files/client-roles.yaml
{{- end }}
{{- if $v.auth.required }}
- name: SANDBAR_AUTH
  value: required
{{- else }}
- name: SANDBAR_INSECURE_NO_AUTH
  value: "true"
{{- end }}
{{- if $v.auth.adminToken.secret }}
- name: SANDBAR_ADMIN_TOKEN_FILE
  value: /etc/sandbar/admin-token/{{ $v.auth.adminToken.key }}
{{- end }}
{{- if $oidc.issuer }}
- name: SANDBAR_OIDC_ISSUER
  value: {{ $oidc.issuer | quote }}
- name: SANDBAR_OIDC_AUDIENCE
  value: {{ $oidc.audience | quote }}
- name: SANDBAR_OIDC_ROLES
  value: /etc/sandbar/files/oidc-roles.yaml
{{- with $oidc.clientId }}
- name: SANDBAR_OIDC_CLIENT_ID
  value: {{ . | quote }}
{{- end }}
{{- with $oidc.resource }}
- name: SANDBAR_OIDC_RESOURCE
  value: {{ . | quote }}
{{- end }}
{{- if $oidc.caConfigMap }}
- name: SANDBAR_OIDC_CA
  value: /etc/sandbar/oidc-ca/{{ $oidc.caKey }}
{{- end }}
{{- end }}
{{- with $v.otlp }}
{{- if .endpoint }}
- name: SANDBAR_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- if .caConfigMap }}
- name: SANDBAR_OTLP_CA
  value: /etc/sandbar/otlp-ca/{{ .caKey }}
{{- end }}
{{- end }}
{{- end }}
{{- if $v.kafka.configSecret }}
- name: SANDBAR_KAFKA_CONFIG
  value: /etc/sandbar/kafka/kafka.properties
{{- end }}
{{- if $v.kafka.teamsSecret }}
- name: SANDBAR_KAFKA_TEAMS_DIR
  value: /etc/sandbar/kafka-teams
- name: SANDBAR_KAFKA_TEAMS_REQUIRED
  value: {{ $v.kafka.teamsRequired | quote }}
{{- end }}
{{- if $v.teams }}
- name: SANDBAR_TEAMS
  value: /etc/sandbar/files/teams.yaml
{{- end }}
{{- if $v.secrets }}
- name: SANDBAR_SECRETS_DIR
  value: /etc/sandbar/secrets
{{- end }}
- name: SANDBAR_LOG
  value: {{ $v.log.filter | quote }}
- name: SANDBAR_LOG_FORMAT
  value: {{ $v.log.format }}
{{- range $option, $value := $v.options }}
- name: SANDBAR_{{ $option | upper | replace "-" "_" }}
  {{- /* YAML's numbers are floats to a template, which shows large ones as 1e+06. */}}
  value: {{ ternary (toString $value) (toString (int64 $value)) (kindIs "string" $value) | quote }}
{{- end }}
{{- range $v.env }}
- name: {{ .name }}
  {{- if .secret }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
  {{- else }}
  value: {{ .value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The kubelet verifies no certificate, and has none of its own: if clients need one, a probe is a connection. */}}
{{- define "sandbar.probes" -}}
{{- $v := .Values -}}
{{- range $probe, $path := dict "startupProbe" "/healthz" "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
{{ $probe }}:
  {{- if $v.tls.client.required }}
  tcpSocket:
    port: api
  {{- else }}
  httpGet:
    path: {{ $path }}
    port: api
    scheme: {{ include "sandbar.scheme" $ | upper }}
  {{- end }}
  {{- if eq $probe "startupProbe" }}
  periodSeconds: 2
  failureThreshold: 60
  {{- else if eq $probe "livenessProbe" }}
  # A minute: a host that is slow gets slower by a restart.
  periodSeconds: 10
  failureThreshold: 6
  {{- else }}
  periodSeconds: 5
  failureThreshold: 3
  {{- end }}
  timeoutSeconds: 5
{{- end }}
{{- end -}}

{{/* The claim of a host's volume. */}}
{{- define "sandbar.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.state.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.state.size | quote }}
{{- end -}}

{{- define "sandbar.topologySpread" -}}
{{- $keys := dict "kubernetes.io/hostname" .Values.topologySpread.nodes "topology.kubernetes.io/zone" .Values.topologySpread.zones -}}
{{- if or .Values.topologySpread.nodes .Values.topologySpread.zones -}}
topologySpreadConstraints:
{{- range $key, $rule := $keys }}
{{- if $rule }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $rule }}
    labelSelector:
      matchLabels: {{- include "sandbar.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
