/** Node loads the package directly; it is not bundled. */
export default { serverExternalPackages: ["lovage"] };
