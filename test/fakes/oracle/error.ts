/** An error as oracledb throws it. */
export function oracleError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code, errorNum: Number(code.slice(4)) });
}
