// An executor in JavaScript: fills market orders at the last price on `ticks` and rejects all others.
//
// It keeps the contract of docs/executing.md: what it has done it reads from `fills`, what it has to do from `orders`,
// both from the start, so it may be killed at any time.  npm ci && node execute_orders.js btc

const { Kafka, logLevel } = require("kafkajs");

const book = process.argv[2];
if (!book) {
  console.error("execute_orders.js BOOK: the book's name");
  process.exit(2);
}
const namespace = process.env.QUORUM_KAFKA_NAMESPACE ?? "";
const brokers = (process.env.QUORUM_KAFKA_BOOTSTRAP ?? "127.0.0.1:9092").split(",");
const kafka = new Kafka({ clientId: "execute-orders", brokers, logLevel: logLevel.ERROR });
const producer = kafka.producer();
const topic = (name) => namespace + name;

// Quantities are decimals in strings. A float would change them: count in units of 1e-18, as BigInt.
const PLACES = 18;
const toUnits = (text) => {
  const [, sign, whole, part = "", down = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:E-(\d+))?$/.exec(text);
  const digits = whole + part;
  const zeros = PLACES - part.length - Number(down);
  if (zeros < 0) throw new RangeError(`${text} has more than ${PLACES} places`);
  return BigInt(sign + digits) * 10n ** BigInt(zeros);
};
const toText = (units) => {
  const digits = units.toString().padStart(PLACES + 1, "0");
  return `${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`.replace(/\.?0+$/, "");
};
const priceText = (price) => price.toFixed(8).replace(/\.?0+$/, "");

const accepted = new Set();
const ended = new Set();
const waiting = new Map(); // orders for whose instrument no price was seen yet
const prices = new Map();
const positions = new Map();

function remember(event) {
  if (event.book !== book) return;
  if (event.type === "OrderAccepted") accepted.add(event.order);
  if (event.type === "OrderFilled") {
    const change = toUnits(event.quantity) * (event.side === "buy" ? 1n : -1n);
    positions.set(event.key, (positions.get(event.key) ?? 0n) + change);
  }
  const isWhole = event.type === "OrderFilled" && toUnits(event.leaves_quantity) === 0n;
  if (isWhole || ["OrderRejected", "OrderCanceled", "OrderExpired"].includes(event.type)) ended.add(event.order);
}

// The same word always has the same id, so that one written twice counts once.
async function say(type, order, partition, what, fields = {}) {
  const event = { type, id: `${order.id}/${what}`, key: order.instrument, book, order: order.id, ...fields };
  // A number holds no nanoseconds of this century, so the times are written as text.
  const now = `${BigInt(Date.now()) * 1_000_000n}`;
  const value = `${JSON.stringify(event).slice(0, -1)},"occurred_at":${now},"observed_at":${now}}`;
  // The partition of the book's orders: so all that is said of them stays in order.
  await producer.send({ topic: topic("fills"), messages: [{ key: book, value, partition }] });
  remember(event);
}

async function place(order, partition) {
  if (order.order_type !== "market") {
    await say("OrderRejected", order, partition, "end", { reason: `this example knows no ${order.order_type} orders` });
    return;
  }
  if (!accepted.has(order.id)) await say("OrderAccepted", order, partition, "accepted");
  if (prices.has(order.instrument)) await fill(order, partition);
  else waiting.set(order.id, [order, partition]);
}

async function fill(order, partition) {
  const wanted = toUnits(order.quantity);
  const position = positions.get(order.instrument) ?? 0n;
  const room = order.side === "buy" ? -position : position;
  let filled = wanted;
  if (order.reduce_only && room < wanted) filled = room > 0n ? room : 0n;
  if (filled > 0n) {
    await say("OrderFilled", order, partition, "fill", {
      side: order.side,
      quantity: toText(filled),
      price: priceText(prices.get(order.instrument)),
      fee: "0",
      leaves_quantity: toText(wanted - filled),
    });
  }
  if (filled < wanted) await say("OrderCanceled", order, partition, "end", { reason: "no position left to reduce" });
}

async function take(event, partition) {
  if (event.type === "TradeTicked" || event.type === "QuoteTicked") {
    prices.set(event.key, event.price ?? (event.bid + event.ask) / 2);
    for (const [order, where] of [...waiting.values()].filter(([order]) => order.instrument === event.key)) {
      waiting.delete(order.id);
      await fill(order, where);
    }
  } else if (event.book !== book) {
    return;
  } else if (event.type === "OrderRequested" && !ended.has(event.id) && !waiting.has(event.id)) {
    await place(event, partition);
  } else if (event.type === "CancelRequested" && waiting.has(event.order)) {
    const [order, where] = waiting.get(event.order);
    waiting.delete(event.order);
    await say("OrderCanceled", order, where, "end", { reason: event.reason });
  }
}

// A group of its own at every start, and no offset kept: what was done says `fills`.
const reader = () => kafka.consumer({ groupId: `${namespace}execute-orders-${process.pid}-${Date.now()}` });

async function readBack(name) {
  const admin = kafka.admin();
  await admin.connect();
  const left = new Map();
  for (const { partition, low, high } of await admin.fetchTopicOffsets(topic(name))) {
    if (high !== low) left.set(partition, BigInt(high));
  }
  await admin.disconnect();
  if (!left.size) return;
  const consumer = reader();
  await consumer.connect();
  await consumer.subscribe({ topic: topic(name), fromBeginning: true });
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        remember(JSON.parse(message.value));
        if (BigInt(message.offset) + 1n >= left.get(partition)) left.delete(partition);
        if (!left.size) resolve();
      },
    });
  });
  await consumer.disconnect();
}

async function main() {
  await producer.connect();
  await readBack("fills");
  const consumer = reader();
  await consumer.connect();
  await consumer.subscribe({ topics: [topic("orders"), topic("ticks")], fromBeginning: true });
  consumer.on(consumer.events.CRASH, () => process.exit(1)); // whoever supervises it starts it again
  await consumer.run({ eachMessage: async ({ partition, message }) => take(JSON.parse(message.value), partition) });
}

main().catch((error) => {
  console.error(`execute_orders.js: ${error.message}`);
  process.exit(1);
});
