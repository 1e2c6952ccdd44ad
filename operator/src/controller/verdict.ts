import type { ConditionType, conditionReasons } from "../../../crds/src/index.js";

/** A condition as it should be now. */
export type Verdict<T extends ConditionType> = {
  readonly status: "True" | "False" | "Unknown";
  readonly reason: keyof (typeof conditionReasons)[T];
  readonly message: string;
};
