export { customResourceDefinition } from "./crd.js";
export {
  GROUP,
  KIND,
  PLURAL,
  resource,
  SHORT_NAME,
  VERSION,
  type MetaMasterCluster,
  type ObjectMeta,
} from "./resource.js";
export {
  DATA_VOLUME,
  HOST_NETWORK_MESSAGE,
  HTTP_PORT,
  MEMBERS_MAX,
  PORT_MESSAGE,
  SIDECAR_CONTAINER,
  WATCHDOG_CONTAINER,
  type Spec,
} from "./spec.js";
export {
  conditionReasons,
  conditionTypes,
  type Condition,
  type ConditionType,
  type MemberStatus,
  type Status,
} from "./status.js";
