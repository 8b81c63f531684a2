/** The package is loaded by Node as it is, not bundled. */
export default { serverExternalPackages: ["lovage"] };
