// Fetches a URL with Node's own fetch and prints the answer.
const answer = await fetch(process.argv[2]);
console.log(answer.status);
console.log(await answer.text());
