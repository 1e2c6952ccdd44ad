import type { Mutation } from "./mutation.js";

/** Bugs that can be planted, each made anew for every run. */
export const mutations: Readonly<Record<string, () => Mutation>> = {};
