import { expect, test } from "@jest/globals";
import { deletionStep, type DeletionFacts } from "./deletion.js";

const gone: DeletionFacts = {
  policy: "Delete",
  set: "Gone",
  members: 0,
  job: "None",
  purged: false,
  jobPods: 0,
  claims: 3,
  claimsGoing: 0,
};

test.each<[string, Partial<DeletionFacts>, string]>([
  ["the members end first", { set: "There", members: 3 }, "RemoveSet"],
  ["also where there are none", { set: "There" }, "RemoveSet"],
  ["they take their time", { set: "Going", members: 3 }, "Wait members"],
  ["one is left, on a node that does not answer", { members: 1 }, "Wait members"],
  ["though a Job has succeeded", { members: 1, job: "Succeeded" }, "Wait members"],
  ["then the prefix", {}, "MakeJob"],
  ["it takes its time", { job: "Running", jobPods: 1 }, "Wait purge"],
  ["of another spec", { job: "Outdated", jobPods: 1 }, "RemoveJob"],
  ["given up", { job: "Failed" }, "RemoveJob"],
  ["taken away", { job: "Going", jobPods: 1 }, "Wait job"],
  ["its pod is still there", { jobPods: 1 }, "Wait job"],
  ["then the volumes", { job: "Succeeded", jobPods: 1 }, "RemoveClaims"],
  ["they take their time", { job: "Succeeded", claims: 0, claimsGoing: 3 }, "Wait volumes"],
  ["then that is written down", { job: "Succeeded", claims: 0 }, "MarkPurged"],
  ["then the Job goes", { purged: true, job: "Succeeded", claims: 0 }, "RemoveJob"],
  ["then it is over", { purged: true, job: "Going", claims: 0 }, "Finish"],
  ["it never begins again", { purged: true, claims: 0 }, "Finish"],
  ["retained: the members end first", { policy: "Retain", set: "There", members: 1 }, "RemoveSet"],
  ["retained: they take their time", { policy: "Retain", members: 1 }, "Wait members"],
  ["retained: bucket and volumes stay", { policy: "Retain" }, "Finish"],
  ["retained while a purge is under way", { policy: "Retain", job: "Running", jobPods: 1 }, "RemoveJob"],
  ["retained while a purge is stuck", { policy: "Retain", job: "Failed" }, "RemoveJob"],
  ["retained after it was done", { policy: "Retain", job: "Succeeded" }, "RemoveJob"],
  ["retained: nothing deletes any more", { policy: "Retain", job: "Going" }, "Wait job"],
  ["retained: nothing deletes any more at all", { policy: "Retain", jobPods: 1 }, "Wait job"],
])("%s", (_what, facts, expected) => {
  const step = deletionStep({ ...gone, ...facts });
  expect(step.do === "Wait" ? `Wait ${step.for}` : step.do).toBe(expected);
});
