// Checks files before they are sent. It listens in the capturing phase, before gradio.
const filesOf = {
  change: event => event.target.files,
  drop: event => event.dataTransfer?.files,
  click: () => [],
};
const problemOf = file => {
  if (file.size > settings.maxBytes)
    return settings.tooLarge.replace('#', Math.ceil(file.size / 2 ** 20));
  return file.type.startsWith('image/') ? '' : settings.notAnImage;
};
const check = event => {
  const message = document.querySelector('#refusal p');
  const files = event.target.closest('#upload, #examples') && filesOf[event.type](event);
  if (!message || !files) return;
  message.textContent = [...files].map(problemOf).find(text => text) ?? '';
  message.hidden = !message.textContent;
  if (message.hidden) return;
  event.preventDefault();
  event.stopPropagation();
};
for (const type in filesOf) document.addEventListener(type, check, true);
