import { SIDECAR_CONTAINER, type MetaMasterCluster, type Spec } from "../../../crds/src/index.js";
import { CA_DIRECTORY, CONFIG_DIRECTORY, CONFIG_KEY, CREDENTIALS_DIRECTORY } from "./config.js";

// What the sidecar and the Job that empties the bucket have in common: one image, one configuration, one way to the bucket.

const CONFIG_VOLUME = "metamaster-config";
const CREDENTIALS_VOLUME = "metamaster-credentials";
const CA_VOLUME = "metamaster-ca";
const TEMPORARY_VOLUME = "metamaster-tmp";

export interface OwnContainer {
  readonly name: string;
  readonly image: string;
  readonly [field: string]: unknown;
}

/** Runs `command` of `metamaster`. `image`: unless the spec names one. */
export function ownContainer(spec: Spec, image: string, command: readonly [string, ...string[]]): OwnContainer {
  const { resources } = spec.sidecar;
  const [name, ...options] = command;
  return {
    ...ownProgram(spec, image, SIDECAR_CONTAINER),
    args: [name, "--config", `${CONFIG_DIRECTORY}/${CONFIG_KEY}`, ...options],
    ...(resources === undefined ? {} : { resources }),
  };
}

/** Of our image. */
export function ownProgram({ sidecar }: Spec, image: string, name: string): OwnContainer {
  return {
    name,
    image: sidecar.image ?? image,
    ...(sidecar.imagePullPolicy === undefined ? {} : { imagePullPolicy: sidecar.imagePullPolicy }),
    // With what it ended is what a person reads in the resource's conditions.
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
}

/** Who it is, what else is given, and where the credentials are. */
export function ownEnv({ bucket }: Spec, ...more: readonly object[]): object[] {
  return [
    { name: "METAMASTER_MEMBER", valueFrom: fieldRef("metadata.name") },
    ...more,
    ...(bucket.credentials === undefined
      ? []
      : [{ name: "METAMASTER_BUCKET_CREDENTIALS_DIRECTORY", value: CREDENTIALS_DIRECTORY }]),
  ];
}

export function fieldRef(fieldPath: string): object {
  return { fieldRef: { fieldPath } };
}

/** Besides the data. */
export function ownMounts({ bucket }: Spec): object[] {
  return [
    { name: CONFIG_VOLUME, mountPath: CONFIG_DIRECTORY, readOnly: true },
    { name: TEMPORARY_VOLUME, mountPath: "/tmp" },
    ...(bucket.credentials === undefined
      ? []
      : [{ name: CREDENTIALS_VOLUME, mountPath: CREDENTIALS_DIRECTORY, readOnly: true }]),
    ...(bucket.ca === undefined ? [] : [{ name: CA_VOLUME, mountPath: CA_DIRECTORY, readOnly: true }]),
  ];
}

export function ownVolumes({ spec, metadata }: MetaMasterCluster): object[] {
  const { credentials, ca } = spec.bucket;
  return [
    { name: CONFIG_VOLUME, configMap: { name: metadata.name } },
    { name: TEMPORARY_VOLUME, emptyDir: {} },
    ...(credentials === undefined ? [] : [secret(CREDENTIALS_VOLUME, credentials.secretRef.name)]),
    ...(ca === undefined ? [] : [secret(CA_VOLUME, ca.secretRef.name)]),
  ];
}

/** One that is missing must not keep the pod from starting: the sidecar says what it misses, and finds it there once it is made. */
function secret(name: string, secretName: string): object {
  return { name, secret: { secretName, optional: true } };
}
