import { z } from "zod";
import { spec, type Spec } from "./spec.js";
import { status, type Status } from "./status.js";

export const GROUP = "metamaster.io";
export const VERSION = "v1alpha1";
export const KIND = "MetaMasterCluster";
export const PLURAL = "metamasterclusters";
export const SHORT_NAME = "mmc";
/** `<name>-<ordinal>-<suffix>` of all that is made of it must be a DNS label. */
export const NAME_MAX = 40;

/** One MetaMasterCluster as the API server gives it, defaults filled in. */
export const resource = z.object({
  apiVersion: z.literal(`${GROUP}/${VERSION}`),
  kind: z.literal(KIND),
  metadata: z.looseObject({ name: z.string().max(NAME_MAX) }),
  spec,
  status: status.optional(),
});

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly resourceVersion?: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface MetaMasterCluster {
  readonly apiVersion: `${typeof GROUP}/${typeof VERSION}`;
  readonly kind: typeof KIND;
  readonly metadata: ObjectMeta;
  readonly spec: Spec;
  readonly status?: Status;
}
