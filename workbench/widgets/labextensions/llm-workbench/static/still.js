// For JupyterLab and Notebook 7, written as their loader wants an extension, without a build step. A notebook that is opened after its
// kernel has ended holds views whose widgets nobody knows any more: in place of "Error displaying widget: model not found" it shows the
// still form, which each of our outputs carries beside the widget, as any other widget's text/html.
(() => {
  const WIDGET = "application/vnd.jupyter.widget-view+json", STILL = "text/html";
  const NOTE = "As it was when its cell ran: the kernel has ended since. Run the cell to go on.";

  // The widget manager's factory, but its renderer falls back to the still form.
  function withStill(factory, rendermime) {
    return { ...factory, createRenderer: (options) => {
      const renderer = factory.createRenderer(options), render = renderer.renderModel.bind(renderer);
      renderer.renderModel = async (model) => { // called again by the manager itself, once it has asked the kernel
        await render(model);
        if (!renderer.isDisposed && model.data[STILL] && renderer.node.textContent.startsWith("Error displaying widget")) {
          const still = rendermime.createRenderer(STILL), note = document.createElement("div");
          await still.renderModel(model);
          note.textContent = NOTE;
          note.style.opacity = "0.75";
          still.node.prepend(note);
          renderer.node.textContent = "";
          renderer.removeClass("jupyter-widgets");
          renderer.addWidget(still);
        }
      };
      return renderer;
    } };
  }

  // The widget manager adds its factory to a notebook's own registry later, when the kernel is there.
  function watch(rendermime) {
    const add = rendermime.addFactory.bind(rendermime);
    rendermime.addFactory = (factory, rank) => add(factory.mimeTypes.includes(WIDGET) ? withStill(factory, rendermime) : factory, rank);
    const there = rendermime.getFactory(WIDGET);
    if (there) rendermime.addFactory(there, rendermime.getRank ? rendermime.getRank(WIDGET) : undefined);
  }

  const plugin = {
    id: "llm-workbench:still",
    description: "Shows the still form of a view whose kernel has ended.",
    autoStart: true,
    activate: (app) => {
      app.docRegistry.addWidgetExtension("Notebook", { createNew: (panel) => { watch(panel.content.rendermime); } });
    },
  };
  const extension = { __esModule: true, default: plugin };
  (window._JUPYTERLAB ||= {})["llm-workbench"] = { init: () => {}, get: () => Promise.resolve(() => extension) };
})();
