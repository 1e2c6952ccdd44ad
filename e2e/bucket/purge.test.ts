import { jest } from "@jest/globals";
import { purgeContract } from "../../sidecar/src/log/testing/purge-contract.js";
import { eachStore, storeSubject } from "./store-subject.js";

jest.setTimeout(300_000);

eachStore((name) => purgeContract(name, () => storeSubject(name)));
