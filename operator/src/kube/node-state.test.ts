import { expect, test } from "@jest/globals";
import { nodeState } from "./node-state.js";

function ready(status: string): object {
  return {
    status: {
      conditions: [
        { type: "DiskPressure", status: "False" },
        { type: "Ready", status },
      ],
    },
  };
}

test.each([
  ["well", ready("True"), { cordoned: false, nodeSilent: false }],
  ["with a kubelet that is not well", ready("False"), { cordoned: false, nodeSilent: true }],
  ["with a kubelet that is not heard from", ready("Unknown"), { cordoned: false, nodeSilent: true }],
  ["new, and says nothing yet", {}, { cordoned: false, nodeSilent: false }],
  ["drained", { ...ready("True"), spec: { unschedulable: true } }, { cordoned: true, nodeSilent: false }],
])("a node %s", (_name, node, expected) => {
  expect(nodeState(node as never)).toEqual(expected);
});
