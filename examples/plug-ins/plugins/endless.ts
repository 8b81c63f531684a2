export default (text: string): string => {
  for (;;) text = text.split("").reverse().join("");
};
