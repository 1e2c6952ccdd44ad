{{- /* What the operator does in the namespaces that it looks after: no more, and e2e/chart/rights.kube.test.ts runs it with no more. */}}
{{- define "metamaster.rules" -}}
- apiGroups: ["metamaster.io"]
  resources: ["metamasterclusters"]
  verbs: ["get", "list", "watch", "patch"]
- apiGroups: ["metamaster.io"]
  resources: ["metamasterclusters/status", "metamasterclusters/finalizers"]
  verbs: ["update"]
- apiGroups: ["apps"]
  resources: ["statefulsets"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# deletionPolicy: Delete empties the bucket by a Job.
- apiGroups: ["batch"]
  resources: ["jobs"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# What these are deleted by is their owner's deletion ...
- apiGroups: [""]
  resources: ["services"]
  verbs: ["get", "list", "watch", "create", "patch"]
# ... but not what such a Job needs: that must outlive a deletion in the foreground, and is taken away at the end.
- apiGroups: [""]
  resources: ["serviceaccounts", "configmaps"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
- apiGroups: ["policy"]
  resources: ["poddisruptionbudgets"]
  verbs: ["get", "list", "watch", "create", "patch"]
- apiGroups: ["rbac.authorization.k8s.io"]
  resources: ["roles", "rolebindings"]
  verbs: ["get", "list", "watch", "create", "patch", "delete"]
# Volumes are expanded, and go with deletionPolicy: Delete.
- apiGroups: [""]
  resources: ["persistentvolumeclaims"]
  verbs: ["get", "list", "watch", "patch", "delete"]
# Members are replaced one by one, and the primary is asked to hand over.
- apiGroups: [""]
  resources: ["pods"]
  verbs: ["get", "list", "watch", "patch", "delete"]
# It never touches a member's Lease before the members are gone, and takes it away then; but it makes the members' Roles, and nobody can give what he hasn't.
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["create", "get", "update", "delete"]
# Why pods of a StatefulSet or a Job can't be made its controller tells by events alone.
- apiGroups: [""]
  resources: ["events"]
  verbs: ["create", "list"]
{{- end }}
