import { explainConfig, explainText } from "../../config/explain.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";

export async function explainCommand(context: CommandContext): Promise<number> {
  const loaded = await context.config();
  const settings = explainConfig(loaded);
  context.console.result({ file: loaded.file, settings, cautions: loaded.cautions }, () => explainText(settings));
  for (const caution of loaded.cautions) context.console.note(`note: ${caution}`);
  return exitCodes.ok.code;
}

export async function validateCommand(context: CommandContext): Promise<number> {
  const { file, cautions } = await context.config();
  context.console.result({ file, valid: true, cautions }, () => `${file} is valid`);
  for (const caution of cautions) context.console.note(`note: ${caution}`);
  return exitCodes.ok.code;
}
