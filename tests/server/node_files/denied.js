// What a user who may not gets, with the Node client: node denied.js <url>. The stream "secret-1" is closed to him.
const { KurrentDBClient, jsonEvent, AccessDeniedError } = require("@kurrent/kurrentdb-client");

const client = KurrentDBClient.connectionString(process.argv[2]);
const steps = {
  append: () => client.appendToStream("secret-1", [jsonEvent({ type: "A", data: {} })]),
  read: async () => {
    for await (const _ of client.readStream("secret-1")) break;
  },
  delete: () => client.deleteStream("secret-1"),
  metadata: () => client.setStreamMetadata("secret-1", {}),
  everything: async () => {
    for await (const _ of client.readAll()) break;
  },
};

(async () => {
  await client.appendToStream("open-1", [jsonEvent({ type: "A", data: {} })]);
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`${name}: let through`);
    } catch (error) {
      console.log(`${name}: ${error instanceof AccessDeniedError ? "denied" : error}`);
    }
  }
  await client.dispose();
})();
