import type { ErrorCodes } from "./error-code.js";

/** Alphabetical. */
export const kubeErrorCodes: ErrorCodes = {
  KubeAccessDenied: {
    kind: "invalid",
    meaning: "The Kubernetes API refused the pod's service account, or it lacks a right.",
    remedy: "Grant the rule that the message names; docs/reference/permissions.md lists all of them.",
  },
  KubeAnswerInvalid: {
    kind: "corrupt",
    meaning:
      "What answers as the Kubernetes API gave something that no API server gives, or a Lease holds what MetaMaster does not write.",
    remedy: "Is there a proxy in between? If it is the Lease, give `election.leaseName` a name of its own.",
  },
  KubeConflict: {
    kind: "conflict",
    meaning: "Somebody else wrote an object of the Kubernetes API first.",
    remedy: "Nothing: it is read again and decided anew.",
  },
  KubeNotFound: {
    kind: "invalid",
    meaning: "An object is not, or no longer, in the Kubernetes API.",
    remedy: "The message names it. A Lease that was deleted is made again by itself.",
  },
  KubeNotInCluster: {
    kind: "invalid",
    meaning: "The process is in no Kubernetes pod, or its service account's token is not mounted.",
    remedy: "Run it in a pod with `automountServiceAccountToken: true`, or set `election.type: Log`.",
  },
  KubeRequestInvalid: {
    kind: "invalid",
    meaning: "The Kubernetes API does not take a request.",
    remedy: "The message says why. If it is not a name in the configuration, report it.",
  },
  KubeThrottled: {
    kind: "transient",
    meaning: "The Kubernetes API asks for fewer requests.",
    remedy: "It is tried again. If it lasts, see who asks for so much, and its flow control.",
  },
  KubeTimeout: {
    kind: "transient",
    meaning: "The Kubernetes API did not answer in time.",
    remedy: "It is tried again. If it lasts: is the API server reachable from this pod, and is it overloaded?",
  },
  KubeTlsInvalid: {
    kind: "invalid",
    meaning: "The certificate of the Kubernetes API can't be trusted.",
    remedy: "The CA in the pod's service account folder must be the one that signed it.",
  },
  KubeUnavailable: {
    kind: "transient",
    meaning: "The Kubernetes API answered with an error of its own, or the connection broke.",
    remedy: "It is tried again. If it lasts, look at the API server's own health.",
  },
  KubeWatchExpired: {
    kind: "conflict",
    meaning: "A watch can't go on from where it was.",
    remedy: "Nothing: the object is read again and watched from there.",
  },
};
