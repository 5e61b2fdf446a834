{{/*
Rules between values, which the schema cannot say. All broken ones are told at once. They are those of the host
(host/src/config), so that a wrong value ends here and not in pods that do not start.
*/}}
{{- define "sandbar.check" -}}
{{- $v := .Values -}}
{{- $tls := include "sandbar.tlsSecret" . -}}
{{- $oidc := $v.auth.oidc -}}
{{- $wrong := list -}}

{{- if not $v.image.repository -}}
{{- $wrong = append $wrong "image.repository is required: build deploy/Dockerfile, and push the image to your registry" -}}
{{- end -}}
{{- if not $v.cluster -}}
{{- $wrong = append $wrong "cluster is required: the name of Sandbar's cluster" -}}
{{- end -}}
{{- if not $v.kafka.brokers -}}
{{- $wrong = append $wrong "kafka.brokers is required: bootstrap servers, as host:port" -}}
{{- end -}}
{{- if and $v.kafka.teamsRequired (not $v.kafka.teamsSecret) -}}
{{- $wrong = append $wrong "kafka.teamsRequired needs kafka.teamsSecret" -}}
{{- end -}}

{{- if and $v.tls.secret $v.tls.certManager.enabled -}}
{{- $wrong = append $wrong "tls.secret and tls.certManager.enabled exclude each other: one Secret has the certificate" -}}
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuer.name) -}}
{{- $wrong = append $wrong "tls.certManager.enabled needs tls.certManager.issuer.name" -}}
{{- end -}}
{{- if and (not $tls) (not $v.insecure.noTls) -}}
{{- $wrong = append $wrong "the API has no TLS (E070): set tls.secret or tls.certManager; insecure.noTls is for a Service that only a proxy with TLS can reach" -}}
{{- end -}}
{{- if and $tls $v.insecure.noTls -}}
{{- $wrong = append $wrong "insecure.noTls says that there is no TLS, and tls says that there is: remove one" -}}
{{- end -}}
{{- if and $v.tls.client.caSecret (not $tls) -}}
{{- $wrong = append $wrong "tls.client needs tls.secret or tls.certManager" -}}
{{- end -}}
{{- if and $v.tls.client.required (not $v.tls.client.caSecret) -}}
{{- $wrong = append $wrong "tls.client.required needs tls.client.caSecret" -}}
{{- end -}}
{{- if and $v.tls.client.roles (not $v.tls.client.caSecret) -}}
{{- $wrong = append $wrong "tls.client.roles needs tls.client.caSecret: without it no client is asked for a certificate" -}}
{{- end -}}

{{- if and (not $v.auth.required) (not $v.insecure.noAuth) -}}
{{- $wrong = append $wrong "auth.required is false, so everybody who reaches the API could do everything (E071); insecure.noAuth is for a Service that only a proxy with a login can reach" -}}
{{- end -}}
{{- if and $v.auth.required $v.insecure.noAuth -}}
{{- $wrong = append $wrong "insecure.noAuth says that nobody signs in, and auth.required says that everybody does: change one" -}}
{{- end -}}
{{- if and $v.auth.required (not (or $v.auth.adminToken.secret $oidc.issuer $v.tls.client.roles $v.auth.clusterTokensOnly)) -}}
{{- $wrong = append $wrong "nobody could sign in: set auth.adminToken.secret, auth.oidc or tls.client.roles; or auth.clusterTokensOnly, if the cluster has tokens already" -}}
{{- end -}}
{{- if and $oidc.issuer (not (and $oidc.audience $oidc.roles)) -}}
{{- $wrong = append $wrong "auth.oidc.issuer needs auth.oidc.audience and auth.oidc.roles" -}}
{{- end -}}
{{- if and (not $oidc.issuer) (or $oidc.audience $oidc.roles $oidc.clientId $oidc.resource $oidc.caConfigMap) -}}
{{- $wrong = append $wrong "auth.oidc needs auth.oidc.issuer" -}}
{{- end -}}

{{- if and (not $v.otlp.endpoint) $v.otlp.caConfigMap -}}
{{- $wrong = append $wrong "otlp needs otlp.endpoint" -}}
{{- end -}}

{{- range $v.env -}}
{{- if and (hasPrefix "SANDBAR_" .name) (not (hasPrefix "SANDBAR_SECRET_" .name)) -}}
{{- $wrong = append $wrong (printf "env: %s is set by a value of this chart, or by `options`" .name) -}}
{{- end -}}
{{- if has .name (list "POD_NAME" "SSL_CERT_FILE") -}}
{{- $wrong = append $wrong (printf "env: %s has its value already" .name) -}}
{{- end -}}
{{- end -}}

{{- if $v.metrics.podMonitor.enabled -}}
{{- $monitor := $v.metrics.podMonitor -}}
{{- if and $v.auth.required (not $monitor.tokenSecret) (not (and $monitor.clientSecret $v.tls.client.roles)) -}}
{{- $wrong = append $wrong "metrics.podMonitor needs tokenSecret, or clientSecret with a role in tls.client.roles, since auth.required is true" -}}
{{- end -}}
{{- if and $v.tls.client.required (not $monitor.clientSecret) -}}
{{- $wrong = append $wrong "metrics.podMonitor needs clientSecret, since tls.client.required is true" -}}
{{- end -}}
{{- end -}}

{{- if $v.keda.enabled -}}
{{- if not $v.keda.prometheus -}}
{{- $wrong = append $wrong "keda.enabled needs keda.prometheus" -}}
{{- end -}}
{{- if gt (int $v.keda.minReplicas) (int $v.keda.maxReplicas) -}}
{{- $wrong = append $wrong "keda.minReplicas is above keda.maxReplicas" -}}
{{- end -}}
{{- end -}}

{{- if $wrong -}}
{{- fail (printf "\n- %s" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
